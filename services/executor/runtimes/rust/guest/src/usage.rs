//! What the executor cannot see of a call as well as the worker: whether it waited, and whether it printed.

use std::os::fd::RawFd;

/// Flag of an answer: the call never gave its processor away.
const COMPUTED: u8 = 0x01;
const SELF: i32 = 0;
const DUPLICATE_CLOSE_ON_EXEC: i32 = 1030;
const UNREAD: u64 = 0x541b; // FIONREAD
/// Copies of the output's descriptors get numbers from here on.
const OWN_DESCRIPTORS: i32 = 200;

/// `struct rusage` of 64-bit Linux, as far as it is needed.
#[repr(C)]
#[derive(Default)]
struct Resources {
    times: [i64; 4],
    others: [i64; 12],
    voluntary_switches: i64,
    involuntary_switches: i64,
}

extern "C" {
    fn getrusage(who: i32, resources: *mut Resources) -> i32;
    fn fcntl(descriptor: i32, command: i32, ...) -> i32;
    fn ioctl(descriptor: i32, request: u64, ...) -> i32;
}

fn voluntary_switches() -> i64 {
    let mut resources = Resources::default();
    unsafe { getrusage(SELF, &mut resources) };
    resources.voluntary_switches
}

pub struct Meter {
    switches: i64,
    outputs: [RawFd; 2],
}

impl Meter {
    /// The standard output and error of now are those that it watches, whatever the function does to them.
    pub fn new() -> Meter {
        Meter { switches: 0, outputs: [1, 2].map(|each| unsafe { fcntl(each, DUPLICATE_CLOSE_ON_EXEC, OWN_DESCRIPTORS) }) }
    }

    pub fn begin(&mut self) {
        self.switches = voluntary_switches();
    }

    /// The flags of the answer to the call that has begun last.
    pub fn computed(&self) -> u8 {
        if voluntary_switches() == self.switches {
            COMPUTED
        } else {
            0
        }
    }

    /// Whether something lies in the output's pipes; also when that cannot be told.
    pub fn has_printed(&self) -> bool {
        self.outputs.iter().any(|output| {
            let mut unread = 0_i32;
            unsafe { ioctl(*output, UNREAD, &mut unread) != 0 || unread != 0 }
        })
    }
}
