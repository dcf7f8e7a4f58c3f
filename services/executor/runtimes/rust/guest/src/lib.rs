//! The guest: what makes a program that answers calls of a function `handler`.
//!
//! Standard library, and `serde_json` for the values that handlers take and return. What a call means is in `events` and
//! `answers`; `serving` is the loop.

mod answers;
mod base64;
mod csv;
mod events;
mod failures;
mod frames;
mod handlers;
mod headers;
mod serving;
mod usage;

pub use handlers::{Handler, Reply};
pub use serving::serve;
