//! From raw records to a data set that one can vouch for.

use std::process::ExitCode;

use examples::cli;
use examples::prepare::Options;

fn main() -> ExitCode {
    cli::run(|| Options::read()?.run())
}
