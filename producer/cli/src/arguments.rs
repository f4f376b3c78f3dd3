//! What can be typed.

use crate::admin::{LimitConnection, ListStragglers, OfConnection, PutConnection, TestConnection};
use crate::dlq::DeadLetterAction;
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, Parser, Subcommand};
use protocol::command::OnConflict;
use protocol::ids::{ConnectionId, JobId, SchemaId};
use protocol::job::{JobMode, JobStatus};
use protocol::role::Role;
use sources::KINDS;
use std::path::PathBuf;
use url::Url;
use uuid::Uuid;

const AFTER: &str = "\
Exit codes: 0 done, 1 failed, 2 not understood.
Configuration: DATABASE_URL and AMQP_URL, or a TOML file (--config, BACKHAUL_CONFIG), or BACKHAUL__SECTION__KEY.";

/// Options of every action are listed after its own.
const EVERYWHERE: &str = "Options everywhere";

/// Starts, cancels and watches syncs, and sets up tenants, keys, connections and users.
#[derive(Debug, Parser)]
#[command(name = "backhaul", version, after_help = AFTER, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// The TOML file to read before the environment
    #[arg(long, global = true, value_name = "FILE", help_heading = EVERYWHERE)]
    pub(crate) config: Option<PathBuf>,
    /// Write JSON instead of text
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) json: bool,
    /// Log to stderr; repeat for more detail
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = EVERYWHERE)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) action: Action,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Publish a start command: sync a connection
    Start(Start),
    /// Publish a cancel command; once a consumer applies it, nothing more of the job is imported
    Cancel(Cancel),
    /// Pause a job: no further page is fetched
    Pause {
        /// The job
        job: JobId,
    },
    /// Resume fetching for a paused job
    Unpause {
        /// The job
        job: JobId,
    },
    /// Continue a failed or cancelled job where it stopped, as a new job
    Resume(Resume),
    /// Show a job in detail
    Status {
        /// The job
        job: JobId,
    },
    /// Explain a job's state: what it waits for, who holds its pages, why it failed
    Explain {
        /// The job
        job: JobId,
    },
    /// List jobs, newest first
    List(List),
    /// Follow jobs until all have ended; exits with 1 if one failed
    Watch {
        /// The jobs [default: all that have not ended]
        #[arg(value_name = "JOB")]
        jobs: Vec<JobId>,
    },
    /// Print the message contract: the AsyncAPI document, or a message's JSON Schema
    Contract {
        /// start, cancel, reply, event, page, marker or abort [default: all of them, as AsyncAPI]
        message: Option<String>,
        /// Write every document into this folder instead
        #[arg(long, value_name = "FOLDER", conflicts_with = "message")]
        write: Option<PathBuf>,
    },
    /// Migrate the database to this version's schema
    Migrate {
        /// Remove the schema instead, with everything in it
        #[arg(long)]
        down: bool,
        /// Confirm --down
        #[arg(long, requires = "down")]
        yes: bool,
    },
    /// Set up tenants, API keys, connections and users
    #[command(subcommand)]
    Admin(Admin),
    /// Inspect and repair dead letters: messages that could not be applied
    #[command(subcommand)]
    Dlq(DeadLetterAction),
    /// Show the configuration in effect as TOML, and where each value was set; secrets are masked
    Config {
        /// Show every key with its meaning and default instead
        #[arg(long)]
        defaults: bool,
    },
    /// Check everything that a sync needs, with advice for each problem; exits with 1 if there is one
    Doctor,
}

#[derive(Debug, Args)]
pub(crate) struct Start {
    /// The connection to sync
    #[arg(long, value_name = "ID")]
    pub(crate) connection: ConnectionId,
    /// Start of the span, a date or an RFC 3339 time [default: no lower bound]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) from: Option<DateTime<Utc>>,
    /// End of the span, exclusive [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) to: Option<DateTime<Utc>>,
    /// What to pull: a span, what is new, or a span whose missing records are then deleted
    #[arg(long, value_name = "MODE", value_enum, default_value_t)]
    pub(crate) mode: JobMode,
    /// The same as --mode incremental
    #[arg(long, conflicts_with_all = ["from", "to", "mode"])]
    pub(crate) incremental: bool,
    /// A name for people
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The schema by which the job's results are shown as rows
    #[arg(long, value_name = "ID")]
    pub(crate) schema: Option<SchemaId>,
    /// Fetch the record with this id instead of a span; can be repeated
    #[arg(long, value_name = "ID", conflicts_with_all = ["from", "to", "incremental"])]
    pub(crate) document: Vec<String>,
    /// The job's identifier [default: a new one]
    #[arg(long, value_name = "ID")]
    pub(crate) job_id: Option<JobId>,
    /// The command's identifier: a repeated command is applied once [default: a new one]
    #[arg(long, value_name = "TEXT")]
    pub(crate) command_id: Option<String>,
    /// What to do while another job of the connection is pending or running
    #[arg(long, value_enum, default_value_t)]
    pub(crate) on_conflict: OnConflict,
    /// Follow the job to its end; exits with 1 unless it completes
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// The job
    #[arg(required_unless_present = "connection", conflicts_with = "connection")]
    pub(crate) job: Option<JobId>,
    /// The connection whose active job is meant
    #[arg(long, value_name = "ID")]
    pub(crate) connection: Option<ConnectionId>,
    /// Why; stored and shown
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// The failed or cancelled job
    pub(crate) job: JobId,
    /// Follow the new job to its end; exits with 1 unless it completes
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only jobs of this connection
    #[arg(long, value_name = "ID")]
    pub(crate) connection: Option<ConnectionId>,
    /// Only jobs in this state
    #[arg(long, value_enum)]
    pub(crate) status: Option<JobStatus>,
    /// How many at most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// Manage tenants, which own connections, jobs and records
    #[command(subcommand)]
    Tenant(Tenant),
    /// Manage keys of the HTTP API; each belongs to one tenant
    #[command(subcommand)]
    Key(Key),
    /// Manage connections, the tenants' accounts at upstreams
    #[command(subcommand)]
    Connection(Connection),
    /// Manage users, who call the HTTP API with a JSON Web Token
    #[command(subcommand)]
    User(User),
    /// Print a new key for sealing credentials
    GenerateKey,
    /// Seal all credentials with the current key. Can be repeated, and consumers can run meanwhile. Exits with 1 if no
    /// configured key opens some of them
    RotateKey,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Tenant {
    /// Create a tenant, or change the limit of an existing one
    Create {
        name: String,
        /// How many of its slices may be worked on at a time [default: fairness.slices_per_tenant]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=10_000))]
        max_slices: Option<i32>,
    },
    /// List tenants
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Create a key. It is shown once; only its hash is stored
    Create {
        /// The tenant's name or identifier
        #[arg(long)]
        tenant: String,
        /// What the key is for
        #[arg(long)]
        name: String,
    },
    /// List a tenant's keys (never the whole key)
    List {
        /// The tenant's name or identifier
        #[arg(long)]
        tenant: String,
    },
    /// Revoke a key; takes effect immediately
    Revoke {
        /// The key's identifier, as `list` shows it
        id: Uuid,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Connection {
    /// Create a connection, or change an existing one
    Put(Box<PutConnection>),
    /// Fetch a page, show what was understood, and examine the upstream; stores nothing. Takes a stored connection, a
    /// description, or a stored one with changes. Exits with 1 if there is no page
    Test(Box<TestConnection>),
    /// List connections, without their credentials
    List {
        /// Only those of this tenant, by name or identifier
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Show the settings that jobs used: what changed, when and by whom, and up to when each list is known
    Versions(OfConnection),
    /// List records that could not be stored
    Stragglers(ListStragglers),
    /// Limit a connection's pages in flight and requests per second
    Limit(LimitConnection),
    /// Delete a connection with its jobs and records; its running job is cancelled
    Delete {
        /// The connection's name or identifier
        connection: String,
        /// The tenant's name or identifier
        #[arg(long)]
        tenant: String,
        /// Confirm
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Create a user, or change and enable an existing one
    Put(PutUser),
    /// List users
    List {
        /// Only those of this tenant, by name or identifier
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Disable a user; takes effect immediately. `put` enables it again
    Remove {
        /// The `sub` of its tokens
        subject: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PutUser {
    /// The `sub` of its tokens
    #[arg(long)]
    pub(crate) subject: String,
    /// The tenant's name or identifier
    #[arg(long, required_unless_present = "no_tenant", conflicts_with = "no_tenant")]
    pub(crate) tenant: Option<String>,
    /// Without a tenant: the user is known, and refused
    #[arg(long)]
    pub(crate) no_tenant: bool,
    /// The user's role [default: unchanged, or member]
    #[arg(long, value_enum)]
    pub(crate) role: Option<Role>,
}

/// The name of a kind of source.
pub(crate) fn source() -> PossibleValuesParser {
    PossibleValuesParser::new(KINDS.map(|kind| PossibleValue::new(kind.name).help(kind.about)))
}

/// An RFC 3339 time, or a date, which means its first moment in UTC.
pub(crate) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Ok(date.and_time(NaiveTime::MIN).and_utc());
    }
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .map_err(|_unspecific| "expected a date (2026-01-31) or a time (2026-01-31T12:00:00Z)".to_owned())
}

/// An address to which a connection can be made.
pub(crate) fn base_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{error}; expected https://host/path"))?;
    match url.scheme() {
        "http" | "https" if !url.username().is_empty() || url.password().is_some() => {
            Err("credentials do not belong into the address; give them with --credentials".to_owned())
        }
        "http" | "https" => Ok(url),
        scheme => Err(format!("the scheme is {scheme}; expected http or https")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_date_is_its_first_moment() {
        assert_eq!(time("2026-01-31").unwrap().to_rfc3339(), "2026-01-31T00:00:00+00:00");
        assert_eq!(time("2026-01-31T01:00:00+01:00").unwrap().to_rfc3339(), "2026-01-31T00:00:00+00:00");
        assert!(time("yesterday").is_err() && time("2026-02-30").is_err());
    }

    #[test]
    fn an_address_without_secrets_is_needed() {
        assert!(base_url("https://api.example/v1").is_ok());
        for wrong in ["api.example", "ftp://api.example", "https://me:secret@api.example"] {
            assert!(base_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_cancel_names_a_job_or_a_connection() {
        let id = "018f0000-0000-7000-8000-000000000001";
        let parse =
            |rest: &[&str]| Arguments::try_parse_from(["backhaul", "cancel"].iter().chain(rest)).map(drop);
        assert!(parse(&[id]).is_ok() && parse(&["--connection", id, "--reason", "enough"]).is_ok());
        assert!(parse(&[]).is_err() && parse(&[id, "--connection", id]).is_err());
    }
}
