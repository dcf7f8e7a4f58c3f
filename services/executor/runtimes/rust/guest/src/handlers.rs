//! What a handler may be: a function of an event, plain or async, with or without errors.
//!
//! Which of the implementations is meant follows from the handler's type; the marker types only keep them apart.

use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use serde_json::Value;

use crate::failures::{self, Failure};

pub struct Plain;
pub struct Fallible;
pub struct FallibleSend;
pub struct Later<M>(M);

/// What a handler may return.
pub trait Reply<M> {
    fn reply(self) -> Result<Value, Failure>;
}

impl<T: Into<Value>> Reply<Plain> for T {
    fn reply(self) -> Result<Value, Failure> {
        Ok(self.into())
    }
}

impl<T: Into<Value>, E: Into<Box<dyn Error>>> Reply<Fallible> for Result<T, E> {
    fn reply(self) -> Result<Value, Failure> {
        self.map(Into::into).map_err(|error| failures::of_error(&*error.into()))
    }
}

impl<T: Into<Value>> Reply<FallibleSend> for Result<T, Box<dyn Error + Send + Sync>> {
    fn reply(self) -> Result<Value, Failure> {
        self.map(Into::into).map_err(|error| failures::of_error(&*error))
    }
}

impl<F: Future, M> Reply<Later<M>> for F
where
    F::Output: Reply<M>,
{
    fn reply(self) -> Result<Value, Failure> {
        block_on(self).reply()
    }
}

/// A function that takes an event.
pub trait Handler<M> {
    fn call(&self, event: Value) -> Result<Value, Failure>;
}

impl<F, R, M> Handler<M> for F
where
    F: Fn(Value) -> R,
    R: Reply<M>,
{
    fn call(&self, event: Value) -> Result<Value, Failure> {
        self(event).reply()
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Run a future on this thread, which sleeps while there is nothing to do.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
