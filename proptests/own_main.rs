//! What a test with a main of its own has to do with the test runner.

use std::process::ExitCode;

/// Whether it is wanted: the test runner gives the names of tests that it was asked for to all targets.
pub fn is_wanted(name: &str, arguments: impl IntoIterator<Item = String>) -> bool {
    let names: Vec<String> = arguments.into_iter().filter(|argument| !argument.starts_with('-')).collect();
    names.is_empty() || names.iter().any(|part| name.contains(part.as_str()))
}

/// It is not.
pub fn pass_over() -> ExitCode {
    println!("0 passed, 0 failed");
    ExitCode::SUCCESS
}

/// What came of it.
pub fn report(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => {
            println!("1 passed, 0 failed");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("FAILED: {why}");
            println!("0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

/// The number that a variable of the environment holds, if it is set. One that holds something else was not meant like that.
pub fn number(variable: &str) -> Result<Option<u64>, String> {
    match std::env::var(variable) {
        Err(std::env::VarError::NotPresent) => Ok(None),
        Ok(text) => match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(format!("{variable}={text} is no number")),
        },
        Err(error) => Err(format!("{variable}: {error}")),
    }
}
