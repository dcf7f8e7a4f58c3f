//! Frames on the worker's descriptor, from the guest's side. The format is described in services/executor/frames.py.

use std::collections::VecDeque;
use std::io::{self, BufReader, IoSlice, Read, Write};
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::net::UnixStream;

pub const LOADED: u8 = 3;
pub const CALL: u8 = 4;
pub const ANSWER: u8 = 5;
pub const ERROR: u8 = 6;
pub const CREDIT: u8 = 10;

/// Flag of an answer: what the function has printed lies unread.
pub const PRINTED: u8 = 0x04;
/// Flag of a call: it was sent before the one before it was answered.
pub const AHEAD: u8 = 0x08;

const HEADER: usize = 24;
const FIXED: usize = 20;
const READ: usize = 65536;
const SET_DESCRIPTOR_FLAGS: i32 = 2;
const CLOSE_ON_EXEC: i32 = 1;

extern "C" {
    fn fcntl(descriptor: i32, command: i32, argument: i32) -> i32;
}

/// What came from the executor; `data` holds the head and, from `body_at` on, the body.
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub call: u32,
    data: Vec<u8>,
    body_at: usize,
}

impl Frame {
    pub fn head(&self) -> &[u8] {
        &self.data[..self.body_at]
    }

    pub fn body(&self) -> &[u8] {
        &self.data[self.body_at..]
    }
}

/// What a frame to the executor says beside head and body. What the call used is not said, since the executor takes the
/// kernel's word for it.
#[derive(Default)]
pub struct Meta {
    pub kind: u8,
    pub flags: u8,
    pub status: u16,
    pub call: u32,
}

/// The worker's end of the socket pair. Programs that user code starts do not inherit it.
pub struct Channel {
    socket: BufReader<UnixStream>,
    kept: VecDeque<Frame>,
}

impl Channel {
    /// Takes the descriptor over; it must be a socket that nobody else reads.
    pub fn new(descriptor: RawFd) -> Channel {
        unsafe {
            fcntl(descriptor, SET_DESCRIPTOR_FLAGS, CLOSE_ON_EXEC);
            Channel { socket: BufReader::with_capacity(READ, UnixStream::from_raw_fd(descriptor)), kept: VecDeque::new() }
        }
    }

    /// The next frame; an error when the executor has gone.
    pub fn receive(&mut self) -> io::Result<Frame> {
        self.kept.pop_front().map_or_else(|| self.next(), Ok)
    }

    /// Wait until the executor has read what was printed during a call that has ended.
    pub fn wait_read(&mut self, call: u32) -> io::Result<()> {
        loop {
            let frame = self.next()?;
            if frame.kind != CREDIT {
                self.kept.push_back(frame);
            } else if frame.call == call {
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> io::Result<Frame> {
        let mut header = [0; HEADER];
        self.socket.read_exact(&mut header)?;
        let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
        let body_at = number(12) as usize;
        let mut data = vec![0; (number(0) as usize).saturating_sub(FIXED).max(body_at)];
        self.socket.read_exact(&mut data)?;
        Ok(Frame { kind: header[4], flags: header[5], call: number(8), data, body_at })
    }

    pub fn send(&mut self, meta: &Meta, head: &[u8], body: &[u8]) -> io::Result<()> {
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&((FIXED + head.len() + body.len()) as u32).to_be_bytes());
        header[4] = meta.kind;
        header[5] = meta.flags;
        header[6..8].copy_from_slice(&meta.status.to_be_bytes());
        header[8..12].copy_from_slice(&meta.call.to_be_bytes());
        header[12..16].copy_from_slice(&(head.len() as u32).to_be_bytes());
        let mut slices = [IoSlice::new(&header), IoSlice::new(head), IoSlice::new(body)];
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            match self.socket.get_mut().write_vectored(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => IoSlice::advance_slices(&mut rest, sent),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
