//! What a caller and an owner are told when user code fails.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::error::Error;
use std::io;
use std::panic::PanicHookInfo;

/// Name of the crate that user code is compiled as.
const FUNCTION: &str = "function::";

thread_local! {
    static LAST_PANIC: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// Why a handler has no answer.
pub struct Failure {
    pub kind: &'static str,
    pub message: String,
    pub stack: String,
    pub status: u16,
}

/// Have panics tell where they come from in one line of the log, and remember it for the answer.
pub fn watch_panics() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo| {
        let message = message_in(info.payload());
        let place = info.location().map(|at| format!("{}:{}", relative(at.file()), at.line())).unwrap_or_default();
        eprintln!("panicked at {place}: {message}");
        let stack = format!("panicked at {place}: {message}{}", frames_of_user_code());
        LAST_PANIC.with(|last| *last.borrow_mut() = Some((message, stack)));
    }));
}

/// What is told of the panic that has just been caught on this thread.
pub fn of_panic(payload: &(dyn Any + Send)) -> Failure {
    let last = LAST_PANIC.with(|last| last.borrow_mut().take());
    let (message, stack) = last.unwrap_or_else(|| (message_in(payload), String::new()));
    Failure { kind: "panic", message, stack, status: 500 }
}

/// What is told of an error that a handler returned; a file that is missing is 404.
pub fn of_error(error: &(dyn Error + 'static)) -> Failure {
    let missing = error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound);
    let message = error.to_string();
    let mut stack = message.clone();
    let mut cause = error.source();
    while let Some(each) = cause {
        stack.push_str(&format!("\ncaused by {each}"));
        cause = each.source();
    }
    Failure { kind: "Error", message, stack, status: if missing { 404 } else { 500 } }
}

fn message_in(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| text.to_string());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".into())
}

/// The functions of user code that were running, innermost first.
fn frames_of_user_code() -> String {
    let mut lines = String::new();
    for line in Backtrace::force_capture().to_string().lines() {
        if let Some((_, name)) = line.split_once(": ") {
            if name.starts_with(FUNCTION) {
                lines.push_str("\n    at ");
                lines.push_str(name.trim_start_matches(FUNCTION));
            }
        }
    }
    lines
}

/// Paths as they are in the function's folder: the build has its own folder around them.
fn relative(file: &str) -> &str {
    file.trim_start_matches("../").trim_start_matches("./")
}
