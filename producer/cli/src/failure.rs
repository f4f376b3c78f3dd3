//! What can go wrong for whoever typed the command: what happened, to what, and what to do.

use crate::output::Text;
use broker::{AmqpError, PublishError};
use configuration::ConfigError;
use engine::EngineError;
use std::io::{Error, ErrorKind};
use std::process::ExitCode;
use store::StoreError;

/// Why a command ends with another exit code than 0.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments make no sense.
    Usage(String),
    /// What was asked for was refused, or is not there.
    Refused(String),
    /// A failure, and what to do about it.
    Advised(Box<Self>, String),
    /// It went as it was shown, and that is not a success: nothing more to say.
    Shown,
    /// The configuration.
    Config(ConfigError),
    /// The database.
    Store(StoreError),
    /// The database cannot be reached. With its address, without its password.
    Database(StoreError, String),
    /// The broker cannot be reached. With its address, without its password.
    Broker(AmqpError, String),
    /// The broker did not confirm a command. With what makes another try safe.
    Publish(PublishError, String),
    /// Nobody reads what is written.
    Output(Error),
}

impl Failure {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Advised(failure, _) => failure.exit_code(),
            // `backhaul list | head` is no failure.
            Self::Output(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Self::Refused(_)
            | Self::Shown
            | Self::Config(_)
            | Self::Store(_)
            | Self::Database(..)
            | Self::Broker(..)
            | Self::Publish(..)
            | Self::Output(_) => ExitCode::FAILURE,
        }
    }

    /// Whether there is anything to say about it.
    pub(crate) fn is_silent(&self) -> bool {
        match self {
            Self::Shown => true,
            Self::Output(error) => error.kind() == ErrorKind::BrokenPipe,
            Self::Usage(_)
            | Self::Refused(_)
            | Self::Advised(..)
            | Self::Config(_)
            | Self::Store(_)
            | Self::Database(..)
            | Self::Broker(..)
            | Self::Publish(..) => false,
        }
    }

    /// What to say about it; nothing if nothing is to be said.
    pub(crate) fn text(&self) -> Text {
        match self {
            Self::Usage(text) | Self::Refused(text) => text.as_str().into(),
            Self::Advised(failure, advice) => failure.text().and(advice),
            Self::Shown => Text::default(),
            Self::Config(error) => error.to_string().into(),
            // The store's own words promise another try, which a command line does not make.
            Self::Store(StoreError::Unavailable(error)) => {
                format!("the database does not answer: {error}").into()
            }
            // Its lines are there to be copied.
            Self::Store(error @ StoreError::MayNotMigrate { .. }) => Text::of_lines(&error.to_string(), ""),
            Self::Store(error) => error.to_string().into(),
            Self::Database(error @ StoreError::Admission(_), address) => {
                format!("at {address}: {error}").into()
            }
            Self::Database(error, address) => {
                let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
                let text = Text::from(format!("the database at {address} does not answer: {cause}"));
                text.and("Is it running, and does DATABASE_URL (or database.url) name it?")
            }
            Self::Broker(error, address) => {
                let text = Text::from(format!("the broker at {address} cannot be used: {error}"));
                text.and(error.advice())
            }
            Self::Publish(error, again) => Text::from(error.to_string()).and(format!("({again})")),
            Self::Output(error) => format!("the output cannot be written: {error}").into(),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        if let EngineError::Store(error) = error {
            Self::Store(error)
        } else {
            Self::Refused(error.to_string())
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Output(error)
    }
}
