//! The store's methods, by what they are about.

use crate::Store;

macro_rules! handles {
    ($($(#[$doc:meta])* $method:ident: $name:ident,)+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub struct $name<'a> {
                pub(crate) store: &'a Store,
            }
        )+

        impl Store {
            $(
                $(#[$doc])*
                #[must_use]
                pub const fn $method(&self) -> $name<'_> {
                    $name { store: self }
                }
            )+
        }
    };
}

handles! {
    /// Tenants, their API keys and their users.
    tenants: Tenants,
    /// Connections: their settings, credentials and limits, and what is known of them.
    connections: Connections,
    /// The schemas of a tenant's rows.
    schemas: Schemas,
    /// Jobs, from their start to their end.
    jobs: Jobs,
    /// Slices of jobs: claiming, settling and releasing their pages.
    slices: Slices,
    /// Commands that were applied, so that a repeat gets the first answer.
    commands: Commands,
    /// What happened to jobs, and has to be published.
    events: Events,
    /// Workers: who lives, and what each holds.
    workers: Workers,
    /// The duties of the sweeper.
    sweeps: Sweeps,
    /// What `backhaul doctor` asks of the database.
    inspection: Inspection,
}
