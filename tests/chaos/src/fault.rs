//! What is done to a consumer, and to servers of one's own. To add a fault: a variant, its weight, and its arm in `Seat::hit`
//! (of a cluster: its arm in `cluster::happens`).

use super::action::weighted;
use rand::rngs::StdRng;

/// A fault of a consumer, or of what it stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// SIGKILL; another one is started in its place.
    Kill,
    /// SIGSTOP, and SIGCONT after a while: shorter or longer than a lease.
    Freeze,
    /// SIGTERM; another one is started in its place.
    Terminate,
    /// Its connections to the broker are reset.
    CutBroker,
    /// They are reset in the middle of a message.
    CutBrokerMidway,
    /// The network to the broker swallows everything for a while.
    StallBroker,
    /// Its connections to the database are reset.
    CutDatabase,
    /// They are reset in the middle of a message: of a statement, or of its answer.
    CutDatabaseMidway,
    /// The network to the database swallows everything for a while.
    StallDatabase,
    /// Postgres ends some sessions of the whole fleet (`pg_terminate_backend`).
    EndSessions,
}

/// A fault of the servers, where they are private.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerFault {
    /// The broker closes every connection.
    CloseConnections,
    /// The broker is stopped or killed, and started again.
    RestartBroker,
    /// Postgres is stopped or killed, and started again.
    RestartPostgres,
}

/// A fault of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClusterFault {
    /// SIGKILL to a node, which is started again.
    KillNode,
    /// SIGSTOP, and SIGCONT after a while.
    PauseNode,
    /// Nobody reaches a node for a while, and it reaches nobody.
    UnplugNode,
    /// A node and the others do not hear each other for a while; clients reach all of them.
    PartNode,
    /// SIGKILL to two of the three nodes: no queue, and the metadata store, has its majority.
    KillMajority,
    /// SIGSTOP to two.
    PauseMajority,
    /// Nobody reaches two, and they do not reach each other.
    UnplugMajority,
    /// One of two members of a queue is killed: the queue has no majority, though the metadata store has one.
    KillQueueMajority,
    /// A queue loses a member, and gets it again.
    GrowQueue,
    /// The standby is promoted while the old primary goes on for a while.
    FailOver,
}

impl Fault {
    /// All of them, with how often each is chosen.
    const ALL: [(Self, u32); 10] = [
        (Self::Kill, 50),
        (Self::Freeze, 8),
        (Self::Terminate, 8),
        (Self::CutBroker, 7),
        (Self::CutBrokerMidway, 7),
        (Self::StallBroker, 4),
        (Self::CutDatabase, 7),
        (Self::CutDatabaseMidway, 7),
        (Self::StallDatabase, 4),
        (Self::EndSessions, 6),
    ];

    pub(super) fn choose(random: &mut StdRng) -> Self {
        weighted(&Self::ALL, random)
    }

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL",
            Self::Freeze => "SIGSTOP … SIGCONT",
            Self::Terminate => "SIGTERM",
            Self::CutBroker => "broker connections reset",
            Self::CutBrokerMidway => "broker connections reset midway",
            Self::StallBroker => "broker connections stalled",
            Self::CutDatabase => "database sessions reset",
            Self::CutDatabaseMidway => "database sessions reset midway",
            Self::StallDatabase => "database sessions stalled",
            Self::EndSessions => "database sessions terminated",
        }
    }
}

impl ServerFault {
    const ALL: [(Self, u32); 3] =
        [(Self::CloseConnections, 2), (Self::RestartBroker, 3), (Self::RestartPostgres, 3)];

    pub(super) fn choose(random: &mut StdRng) -> Self {
        weighted(&Self::ALL, random)
    }

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::CloseConnections => "broker closes every connection",
            Self::RestartBroker => "broker restarted",
            Self::RestartPostgres => "Postgres restarted",
        }
    }
}

impl ClusterFault {
    pub(super) const ALL: [Self; 10] = [
        Self::KillNode,
        Self::PauseNode,
        Self::UnplugNode,
        Self::PartNode,
        Self::KillMajority,
        Self::PauseMajority,
        Self::UnplugMajority,
        Self::KillQueueMajority,
        Self::GrowQueue,
        Self::FailOver,
    ];

    /// Whether nothing can go on before it is over.
    pub(super) const fn of_the_majority(self) -> bool {
        matches!(
            self,
            Self::KillMajority | Self::PauseMajority | Self::UnplugMajority | Self::KillQueueMajority
        )
    }

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::KillNode => "node killed",
            Self::PauseNode => "node paused",
            Self::UnplugNode => "node unplugged",
            Self::PartNode => "node parted from the others",
            Self::KillMajority => "majority killed",
            Self::PauseMajority => "majority paused",
            Self::UnplugMajority => "majority unplugged",
            Self::KillQueueMajority => "majority of a queue killed",
            Self::GrowQueue => "queue shrunk and grown",
            Self::FailOver => "standby promoted, old primary unfenced for 5 s",
        }
    }
}
