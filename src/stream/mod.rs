//! Statistics of a stream: rows that arrive one by one, and numbers that can be read at any time.

mod forgetting;
mod methods;
mod standardize;
mod state;
mod types;

pub use forgetting::Forgetting;
pub use standardize::Standardize;
pub use types::{Ewm, Welford};
