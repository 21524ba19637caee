//! The event agent: runs Apache Flume configurations on the `fchannel` engine.

pub mod component;
pub mod config;
