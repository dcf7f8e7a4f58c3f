"""FastFN's console API: functions read, written and removed over HTTP (contract 2.8)."""
