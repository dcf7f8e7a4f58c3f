//! The program of a Rust worker until it has code: says that it is ready, waits for LOAD, and becomes the function's program.
//!
//! A spare must not hold code, and a function is a program of its own; so this one is what boots ahead of time. It takes the
//! LOAD frame from the socket, leaves it in an unnamed file and executes `<root>/.rust-build/handler`, which finds the numbers
//! of both in the variable `FNBUS_GUEST`. Standard library only, so that `rustc` alone builds it.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

const READY: u8 = 1;
const LOAD: u8 = 2;
const CALL: u8 = 4;
const ERROR: u8 = 6;
const FIXED: usize = 20;
const PROGRAM: &str = ".rust-build/handler";

extern "C" {
    fn memfd_create(name: *const u8, flags: u32) -> i32;
}

fn main() {
    let descriptor: RawFd = std::env::args().last().and_then(|text| text.parse().ok()).expect("number of the descriptor");
    // Never closed here: it goes on into the program.
    let mut socket = ManuallyDrop::new(unsafe { UnixStream::from_raw_fd(descriptor) });
    let greeting = concat!(r#"{"protocol":1,"runtime":"rust","version":""#, env!("FNBUS_RUST_VERSION"), r#"","read_ahead":true}"#);
    let _ = serve(&mut socket, descriptor, greeting); // an error is an executor that has gone
}

fn serve(socket: &mut UnixStream, descriptor: RawFd, greeting: &str) -> io::Result<()> {
    send(socket, READY, 0, 0, greeting.as_bytes(), b"")?;
    loop {
        let mut length = [0; 4];
        socket.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        socket.read_exact(&mut frame)?;
        let call = u32::from_be_bytes(frame[4..8].try_into().unwrap());
        let head_size = u32::from_be_bytes(frame[8..12].try_into().unwrap()) as usize;
        match frame[0] {
            LOAD => {
                let head = &frame[FIXED..FIXED + head_size];
                let message = match root_in(head) {
                    Some(root) => become_program(&format!("{root}/{PROGRAM}"), descriptor, head),
                    None => "LOAD names no root".to_string(),
                };
                refuse(socket, 0, "load_error", &message)?;
            }
            CALL => refuse(socket, call, "handler_error", "no code is loaded")?,
            _ => {}
        }
    }
}

/// Execute the function's program; returns only when that fails, with the reason.
fn become_program(program: &str, descriptor: RawFd, head: &[u8]) -> String {
    let handed = match kept(head) {
        Ok(file) => ManuallyDrop::new(file),
        Err(error) => return format!("the code could not be handed over: {error}"),
    };
    let error = Command::new(program).env("FNBUS_GUEST", format!("{descriptor},{}", handed.as_raw_fd())).exec();
    drop(ManuallyDrop::into_inner(handed));
    match error.kind() {
        io::ErrorKind::NotFound => format!("{PROGRAM} is missing: the function has not been built"),
        _ => format!("{PROGRAM} cannot be run: {error}"),
    }
}

/// An unnamed file that holds the bytes and lives on in the program.
fn kept(bytes: &[u8]) -> io::Result<File> {
    let number = unsafe { memfd_create(c"load".as_ptr().cast(), 0) };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut file = unsafe { File::from_raw_fd(number) };
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

fn refuse(socket: &mut UnixStream, call: u32, code: &str, message: &str) -> io::Result<()> {
    let text: String = message.chars().map(|each| if each == '"' || each == '\\' || each < ' ' { '\'' } else { each }).collect();
    let head = format!(r#"{{"code":"{code}","type":"Error","message":"{text}","stack":"{text}"}}"#);
    send(socket, ERROR, 500, call, head.as_bytes(), format!(r#"{{"error":"{text}"}}"#).as_bytes())
}

fn send(socket: &mut UnixStream, kind: u8, status: u16, call: u32, head: &[u8], body: &[u8]) -> io::Result<()> {
    let mut frame = Vec::with_capacity(4 + FIXED + head.len() + body.len());
    frame.extend(((FIXED + head.len() + body.len()) as u32).to_be_bytes());
    frame.extend([kind, 0]);
    frame.extend(status.to_be_bytes());
    frame.extend(call.to_be_bytes());
    frame.extend((head.len() as u32).to_be_bytes());
    frame.extend([0; 8]);
    frame.extend(head);
    frame.extend(body);
    socket.write_all(&frame)
}

/// The text under the key `root` of a JSON object, whatever else is in it; None when there is none.
fn root_in(json: &[u8]) -> Option<String> {
    let mut depth = 0;
    let mut at = 0;
    let mut key = None;
    while at < json.len() {
        match json[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b',' if depth == 1 => key = None,
            b'"' => {
                let (text, end) = text_at(json, at + 1)?;
                at = end;
                match &key {
                    None if depth == 1 => key = Some(text),
                    Some(name) if depth == 1 && name == "root" => return Some(text),
                    _ => {}
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The JSON text that begins after its quotation mark, and where its closing one is.
fn text_at(json: &[u8], start: usize) -> Option<(String, usize)> {
    let mut bytes = Vec::new();
    let mut at = start;
    loop {
        match *json.get(at)? {
            b'"' => return Some((String::from_utf8(bytes).ok()?, at)),
            b'\\' => {
                at += 1;
                match *json.get(at)? {
                    b'u' => {
                        let code = u32::from_str_radix(std::str::from_utf8(json.get(at + 1..at + 5)?).ok()?, 16).ok()?;
                        at += 4;
                        bytes.extend(char::from_u32(code).unwrap_or('\u{fffd}').to_string().bytes());
                    }
                    b'n' => bytes.push(b'\n'),
                    b't' => bytes.push(b'\t'),
                    other => bytes.push(other),
                }
            }
            other => bytes.push(other),
        }
        at += 1;
    }
}
