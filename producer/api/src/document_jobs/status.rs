//! The contract's words for a job's state.

use protocol::job::JobStatus;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A job's state. While it is being cancelled it is `processing` still; once it is cancelled it is `failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[schema(as = DocumentJobStatus)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    Pending,
    Processing,
    Complete,
    Failed,
}

impl Word {
    /// The word for a state.
    pub(super) const fn of(status: JobStatus) -> Self {
        match status {
            JobStatus::Pending => Self::Pending,
            JobStatus::Running | JobStatus::Cancelling => Self::Processing,
            JobStatus::Completed => Self::Complete,
            JobStatus::Failed | JobStatus::Cancelled => Self::Failed,
        }
    }

    /// The states that it is the word for.
    pub(super) fn statuses(self) -> Vec<JobStatus> {
        JobStatus::ALL.into_iter().filter(|status| Self::of(*status) == self).collect()
    }

    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Complete => "complete",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_one_word() {
        let words = [Word::Pending, Word::Processing, Word::Complete, Word::Failed];
        let mut all: Vec<_> = words.into_iter().flat_map(Word::statuses).collect();
        all.sort_by_key(|status| status.word());
        let mut expected = JobStatus::ALL.to_vec();
        expected.sort_by_key(|status| status.word());
        assert_eq!(all, expected);
        for word in words {
            assert_eq!(serde_json::to_value(word).unwrap(), word.text());
        }
    }
}
