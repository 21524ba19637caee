//! The event agent: runs Apache Flume configurations on the `fchannel` engine.

// The tables of the tests are shared by unit and integration tests.
#[cfg(test)]
extern crate self as fchannel_agent;

pub mod bench;
pub mod channels;
pub mod cli;
pub mod component;
pub mod config;
mod dns;
mod findings;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod inspect;
pub mod interceptors;
mod log;
mod pipeline;
pub mod registry;
pub mod runtime;
pub mod selectors;
pub mod serializers;
pub mod sinks;
pub mod sources;
mod sync;
#[cfg(test)]
mod testing;
mod text;
