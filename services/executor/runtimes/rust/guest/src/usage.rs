//! What the worker has used, as the kernel tells it.

use std::fs;

/// Flag of an answer: the call never gave its processor away.
const COMPUTED: u8 = 0x01;
const SELF: i32 = 0;

/// `struct rusage` of 64-bit Linux, as far as it is needed.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Resources {
    user: [i64; 2],
    system: [i64; 2],
    max_rss: i64,
    unused: [i64; 3],
    minor_faults: i64,
    others: [i64; 7],
    voluntary_switches: i64,
    involuntary_switches: i64,
}

extern "C" {
    fn getrusage(who: i32, resources: *mut Resources) -> i32;
}

fn now() -> Resources {
    let mut resources = Resources::default();
    unsafe { getrusage(SELF, &mut resources) };
    resources
}

/// Microseconds of CPU, the largest resident size in KiB, and the flags of an answer.
pub type Used = (u32, u32, u8);

#[derive(Default)]
pub struct Meter {
    before: Resources,
    faults: i64,
    peak_kib: u32,
}

impl Meter {
    pub fn begin(&mut self) {
        self.before = now();
    }

    /// What was used since `begin`.
    pub fn end(&mut self) -> Used {
        let (now, before) = (now(), self.before);
        let cpu = [(now.user, before.user), (now.system, before.system)]
            .iter()
            .map(|(after, before)| (after[0] - before[0]) * 1_000_000 + after[1] - before[1])
            .sum::<i64>();
        let flags = if now.voluntary_switches == before.voluntary_switches { COMPUTED } else { 0 };
        (u32::try_from(cpu).unwrap_or(0), self.peak(now.minor_faults), flags)
    }

    /// `max_rss` outlives an exec, so the program's own figure is read; without a fault there are no new pages.
    fn peak(&mut self, faults: i64) -> u32 {
        if faults != self.faults {
            self.faults = faults;
            let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            self.peak_kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0);
        }
        self.peak_kib
    }
}
