//! The event agent: runs Apache Flume configurations on the `fchannel` engine.

// The tables of the tests are shared by unit and integration tests.
#[cfg(test)]
extern crate self as fchannel_agent;

pub mod cli;
pub mod component;
pub mod config;
pub mod registry;
