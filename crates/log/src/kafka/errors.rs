//! What librdkafka's errors mean to a caller of the seam.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::LogError;

/// Another owner has taken over, or the group has moved on without this member.
pub(super) fn is_fencing(code: Code) -> bool {
    matches!(
        code,
        Code::Fenced
            | Code::ProducerFenced
            | Code::InvalidProducerEpoch
            | Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::FencedInstanceId
            | Code::FencedMemberEpoch
            | Code::StaleMemberEpoch
            | Code::RebalanceInProgress
            | Code::InvalidProducerIdMapping
    )
}

/// Trying again does not help before somebody changes the configuration or the permissions.
pub(super) fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::Authentication
            | Code::UnsupportedSASLMechanism
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
    )
}

/// The client instance that reported it can do nothing more.
pub(super) fn is_fatal(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.is_fatal(),
        KafkaError::MessageConsumptionFatal(_) => true,
        other => other.rdkafka_error_code() == Some(Code::Fatal),
    }
}

pub(super) fn unavailable(doing: &'static str, error: &KafkaError) -> LogError {
    LogError::Unavailable {
        doing,
        reason: reason(error),
    }
}

/// The error without the wrapper's prefix, which says nothing to an operator.
pub(super) fn reason(error: &KafkaError) -> String {
    match error {
        KafkaError::Transaction(error) => error.string(),
        other => other
            .rdkafka_error_code()
            .map_or_else(|| other.to_string(), |code| code.to_string()),
    }
}
