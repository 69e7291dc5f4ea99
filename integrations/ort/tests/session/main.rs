//! The operator in sessions of ONNX Runtime. The tests need its library, and models that `./test` makes; without these
//! they are listed as ignored, and the reason is printed.

mod data;
mod mistakes;
mod networks;
mod node;
mod types;

use std::error::Error;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// What tests return.
type Outcome = Result<(), Box<dyn Error>>;

/// A test, by a name.
fn test(name: impl Into<String>, run: impl FnOnce() -> Outcome + Send + 'static) -> Trial {
    Trial::test(name, || run().map_err(|error| error.to_string().into()))
}

fn main() -> ExitCode {
    let missing = data::missing();
    let lists = [node::tests(), types::tests(), networks::tests(), mistakes::tests()];
    let mut tests: Vec<Trial> = lists.into_iter().flatten().collect();
    if let Some(reason) = &missing {
        println!("\nNOT RUN: the tests of sessions, because {reason}. `./test` in this folder runs them.");
        tests = tests.into_iter().map(|test| test.with_ignored_flag(true)).collect();
    }
    let mut arguments = Arguments::from_args();
    if missing.is_some() {
        // They would all fail for the same reason.
        (arguments.include_ignored, arguments.ignored) = (false, false);
    }
    libtest_mimic::run(&arguments, tests).exit_code()
}
