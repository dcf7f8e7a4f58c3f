"""FastFN's console API: functions read, written and removed over HTTP."""
