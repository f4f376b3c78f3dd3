//! `backhaul`: the command line for operators. Starts and cancels are published over AMQP, as an upstream service
//! publishes them; what has no message (pause, resume, deletion) goes through the engine that the HTTP API uses;
//! everything that is shown is read from Postgres.

mod admin;
mod answer;
mod arguments;
mod commands;
mod config;
mod context;
mod contract;
mod dlq;
mod doctor;
mod failure;
mod lifecycle;
mod output;
mod show;
mod status;
mod watch;

use arguments::{Action, Arguments};
use clap::Parser;
use clap::error::ErrorKind;
use context::Context;
use failure::Failure;
use output::{Output, Text};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return not_understood(&error),
    };
    let output = Output::new(arguments.json);
    match run(arguments, output).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.complain(&failure);
            failure.exit_code()
        }
    }
}

/// Prints help, or what is wrong with the arguments. Scripts pass on what others have given them, so mistakes are shown like
/// anything else that comes from outside.
fn not_understood(error: &clap::Error) -> ExitCode {
    let quotes_nothing =
        !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if quotes_nothing {
        // With nobody to read it there is nothing else to do.
        drop(error.print());
    } else {
        Output::new(false).note(Text::of_lines(&error.to_string(), ""));
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

async fn run(arguments: Arguments, output: Output) -> Result<(), Failure> {
    if matches!(arguments.action, Action::Doctor) {
        // It looks at the configuration itself.
        return doctor::run(arguments.config.as_deref(), output).await;
    }
    if let Action::Contract { message, write } = &arguments.action {
        return contract::print(output, message.as_deref(), write.as_deref());
    }
    let context = Context::load(arguments.config.as_deref(), arguments.verbose, output)?;
    let done = match arguments.action {
        Action::Start(start) => Box::pin(commands::start(&context, start)).await,
        Action::Cancel(cancel) => Box::pin(commands::cancel(&context, cancel)).await,
        Action::Pause { job } => Box::pin(lifecycle::pause(&context, job)).await,
        Action::Unpause { job } => Box::pin(lifecycle::unpause(&context, job)).await,
        Action::Resume(resume) => Box::pin(lifecycle::resume(&context, resume)).await,
        Action::Status { job } => status::status(&context, job).await,
        Action::Explain { job } => status::explain(&context, job).await,
        Action::List(list) => status::list(&context, list).await,
        Action::Watch { jobs } => watch::watch(&context, jobs).await,
        Action::Contract { .. } => Ok(()),
        Action::Migrate { down, yes } => admin::migrate(&context, down, yes).await,
        Action::Admin(action) => Box::pin(admin::run(&context, action)).await,
        Action::Dlq(action) => Box::pin(dlq::run(&context, action)).await,
        Action::Config { defaults: true } => config::defaults(&context),
        Action::Config { defaults: false } => config::effective(&context),
        Action::Doctor => Ok(()),
    };
    done.map_err(|failure| context.locate(failure))
}
