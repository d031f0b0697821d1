//! The command-line tool.

fn main() -> std::process::ExitCode {
    resolute::cli::run()
}
