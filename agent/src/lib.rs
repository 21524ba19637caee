//! The event agent: runs Apache Flume configurations on the `fchannel` engine.

pub mod channels;
pub mod component;
pub mod config;
pub mod interceptors;
mod pipeline;
pub mod runtime;
pub mod selectors;
pub mod serializers;
pub mod sinks;
pub mod sources;
mod sync;
#[cfg(test)]
mod testing;
mod text;
