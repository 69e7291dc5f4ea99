//! Tests of the functions. One binary, because each would link all of DataFusion.

mod accuracy;
mod coercion;
mod harness;
mod memory;
mod plans;
mod sql;
mod states;
mod windows;

#[allow(dead_code, unreachable_pub, missing_docs, reason = "the main crate's tests use all of it")]
#[path = "../../../../tests/common/nasty.rs"]
mod nasty;

/// Exact arithmetic, in integers: no code of this crate, nor of DataFusion's.
#[allow(dead_code, unreachable_pub, missing_docs, reason = "the main crate's tests use all of it")]
#[path = "../../../../tests/common/oracle.rs"]
mod oracle;
