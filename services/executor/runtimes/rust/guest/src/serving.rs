//! The loop: takes the code's settings over from the launcher, then answers one call after the other until the executor goes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::FromRawFd;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;

use serde_json::{json, Map, Value};

use crate::answers::{answer_of, Answer};
use crate::events::event_of;
use crate::failures::{self, Failure};
use crate::frames::{Channel, Frame, Meta, AHEAD, ANSWER, CALL, ERROR, LOADED, PRINTED};
use crate::handlers::Handler;
use crate::usage::Meter;

const HANDED_OVER: &str = "FNBUS_GUEST";
const STYLES: [&str; 3] = ["", "auto", "native"];
const INVALID: &[u8] = br#"{"error":"invalid runtime response"}"#;

/// Be the worker of a function, until the executor has gone. Ends the process, whatever threads the function has left.
pub fn serve<M, H: Handler<M>>(handler: H) {
    let (channel, load) = handed_over().expect("started by the launcher");
    failures::watch_panics();
    let mut guest = Guest { channel, env: Map::new(), secrets: Map::new(), meter: Meter::new(), unread: 0 };
    let _ = guest.serve(&load, &handler); // an error is an executor that has gone
    flush();
    std::process::exit(0);
}

/// The worker's socket, and the LOAD that the launcher has taken from it.
fn handed_over() -> Option<(Channel, Value)> {
    let text = std::env::var(HANDED_OVER).ok()?;
    std::env::remove_var(HANDED_OVER);
    let (socket, file) = text.split_once(',')?;
    let mut load = Vec::new();
    unsafe { File::from_raw_fd(file.parse().ok()?) }.read_to_end(&mut load).ok()?;
    Some((Channel::new(socket.parse().ok()?), serde_json::from_slice(&load).ok()?))
}

struct Guest {
    channel: Channel,
    env: Map<String, Value>,
    secrets: Map<String, Value>,
    meter: Meter,
    /// The last call, when what it printed lay unread at its end.
    unread: u32,
}

impl Guest {
    fn serve<M>(&mut self, load: &Value, handler: &impl Handler<M>) -> io::Result<()> {
        match self.settle(load) {
            Ok(()) => self.channel.send(&Meta { kind: LOADED, ..Meta::default() }, b"", b"")?,
            Err(message) => {
                let failure = Failure { kind: "Error", stack: message.clone(), message, status: 500 };
                self.fail(0, "load_error", &failure)?;
            }
        }
        loop {
            let frame = self.channel.receive()?;
            if frame.kind == CALL {
                if self.unread != 0 && frame.flags & AHEAD != 0 {
                    self.channel.wait_read(self.unread)?;
                }
                self.answer(&frame, handler)?;
            }
        }
    }

    /// Make the process the function's: its environment and its folder.
    fn settle(&mut self, load: &Value) -> Result<(), String> {
        let text = |key: &str| load[key].as_str().unwrap_or("");
        let entrypoint = text("entrypoint");
        if !matches!(text("handler"), "" | "handler") {
            return Err(format!("{entrypoint}: the handler of a Rust function is called handler, not {}", text("handler")));
        }
        if !STYLES.contains(&text("handler_style")) {
            return Err(format!("rust has no handler style {}", text("handler_style")));
        }
        self.secrets = load["secrets"].as_object().cloned().unwrap_or_default();
        self.env = load["env"].as_object().cloned().unwrap_or_default();
        for (name, value) in &self.env {
            std::env::set_var(name, value.as_str().unwrap_or_default());
        }
        let entry = Path::new(text("root")).join(entrypoint);
        let folder = entry.parent().unwrap_or(&entry);
        std::env::set_current_dir(folder).map_err(|error| format!("{entrypoint}: its folder cannot be entered: {error}"))
    }

    fn answer<M>(&mut self, frame: &Frame, handler: &impl Handler<M>) -> io::Result<()> {
        self.meter.begin();
        let event = match event_of(frame.head(), frame.body(), &self.env, &self.secrets) {
            Ok(event) => event,
            Err(error) => return self.fail(frame.call, "handler_error", &failures::of_error(&error)),
        };
        let value = match catch_unwind(AssertUnwindSafe(|| handler.call(event))) {
            Ok(Ok(value)) => value,
            Ok(Err(failure)) => return self.fail(frame.call, "handler_error", &failure),
            Err(payload) => return self.fail(frame.call, "handler_error", &failures::of_panic(&*payload)),
        };
        match answer_of(&value) {
            Ok(Answer { status, head, body }) => self.send(ANSWER, frame.call, status, &head, &body),
            Err(invalid) => {
                let failure = Failure { kind: "InvalidResponse", message: invalid.0, stack: String::new(), status: 502 };
                self.fail(frame.call, "invalid_response", &failure)
            }
        }
    }

    fn fail(&mut self, call: u32, code: &str, failure: &Failure) -> io::Result<()> {
        let head = json!({"code": code, "type": failure.kind, "message": failure.message, "stack": failure.stack});
        let told = json!({"error": failure.message}).to_string();
        let body = if code == "invalid_response" { INVALID } else { told.as_bytes() };
        self.send(ERROR, call, failure.status, head.to_string().as_bytes(), body)
    }

    fn send(&mut self, kind: u8, call: u32, status: u16, head: &[u8], body: &[u8]) -> io::Result<()> {
        flush();
        let mut flags = 0;
        if call != 0 {
            flags = self.meter.computed();
            if self.meter.has_printed() {
                flags |= PRINTED;
            }
            self.unread = if flags & PRINTED == 0 { 0 } else { call };
        }
        self.channel.send(&Meta { kind, flags, status, call }, head, body)
    }
}

/// Push out what the function has printed.
fn flush() {
    let _ = io::stdout().flush();
    let _ = io::stderr().flush();
}
