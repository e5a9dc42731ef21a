//! What a log promises, said of every backend in the same words.
//!
//! A driver (`tests/conformance_<backend>.rs`) implements [`Backend`] and writes
//! `conformance_suite!(TheBackend);`, which makes a test of each case. Every case gets a backend
//! of its own, whose topics nobody else uses.

pub mod child;
pub mod durability;
pub mod groups;
pub mod limits;
pub mod order;
pub mod readers;
pub mod retention;
pub mod sets;
pub mod stalled;
pub mod support;
pub mod topics;
pub mod units;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use laneway_log::{EmbeddedConfig, KafkaConfig, Log, LogConfig, Result, SaslConfig, TopicSetup};

/// A place for logs, with topics that no other case sees.
pub trait Backend: Sized + Send + Sync + 'static {
    /// Whether several processes may have the log open at the same time.
    const SHARED: bool;

    /// A new place, empty. `case` may be used to name it.
    fn fresh(case: &str) -> impl Future<Output = Self> + Send;

    /// The place that another process has made and described.
    fn attach(address: &str) -> Self;

    /// Describes the place to a child process, for [`Backend::attach`].
    fn address(&self) -> String;

    /// The configuration of this place: see [`base_config`].
    fn config(&self) -> LogConfig;

    /// Kills the server with SIGKILL, starts it again and returns once it answers. `false`:
    /// there is no server.
    fn kill_server(&self) -> BoxFuture<'_, bool>;

    /// Opens the log with the configuration as `change` leaves it.
    fn open_with(
        &self,
        change: impl FnOnce(&mut LogConfig),
    ) -> impl Future<Output = Result<Arc<dyn Log>>> + Send {
        let mut config = self.config();
        change(&mut config);
        async move { laneway_log::open(&config).await }
    }

    /// Opens the log.
    fn open(&self) -> impl Future<Output = Arc<dyn Log>> + Send {
        let opening = self.open_with(|_| {});
        async move { opening.await.expect("opening the log") }
    }
}

/// Partitions of every log in the suite.
pub const PARTITIONS: u32 = 4;

/// A configuration for tests: small, quick to notice silence. The driver corrects `embedded.path`,
/// or `kafka.bootstrap` and `topic_prefix`.
pub fn base_config(backend: laneway_log::Backend) -> LogConfig {
    LogConfig {
        backend,
        topics: TopicSetup::Create,
        topic_prefix: String::new(),
        topic_sets: Vec::new(),
        partitions: PARTITIONS,
        // Records of any time stay, but where a case is about that.
        retention_seconds: 100 * 365 * 86_400,
        retention_bytes: 0,
        max_record_bytes: 1 << 20,
        max_queued_bytes: 32 << 20,
        session_timeout_ms: 6_000,
        embedded: EmbeddedConfig {
            path: "unset".into(),
            min_free_bytes: 1 << 20,
            cache_bytes: 16 << 20,
        },
        kafka: KafkaConfig {
            sasl: SaslConfig {
                mechanism: "SCRAM-SHA-256".into(),
                ..SaslConfig::default()
            },
            ..KafkaConfig::plaintext("unset")
        },
    }
}

/// Makes a test of every case, and the entry of the child processes.
#[macro_export]
macro_rules! conformance_suite {
    ($backend:ty) => {
        $crate::conformance_suite! { @cases $backend,
            order::a_partition_keeps_the_order_of_appends
            order::writers_at_the_same_time_keep_their_own_order
            order::headers_tombstones_and_empty_values_survive
            durability::closing_and_opening_again_loses_nothing
            durability::what_was_confirmed_survives_kills_of_the_client
            durability::what_was_confirmed_survives_kills_of_the_server
            units::a_unit_is_readable_with_its_offsets
            units::a_refused_unit_leaves_nothing_behind
            units::a_dropped_unit_future_harms_nothing
            units::kills_in_the_middle_of_units_lose_and_repeat_nothing
            groups::a_group_goes_on_from_its_committed_offsets
            groups::a_group_may_start_at_the_end
            groups::seeking_goes_on_reading_elsewhere
            groups::members_process_every_record_once_over_joins_and_leaves
            groups::an_epoch_ends_with_its_assignment
            groups::a_second_member_of_the_same_instance_fences_the_first
            groups::lag_counts_what_is_not_committed
            stalled::a_member_that_stalled_until_its_partitions_moved_is_fenced
            readers::a_reader_passes_from_history_to_live
            readers::a_reader_says_once_that_it_has_caught_up
            readers::a_reader_starts_in_the_middle
            readers::a_reader_moves_between_partitions
            readers::an_offset_past_the_end_is_out_of_range
            readers::a_follower_gets_what_is_there_and_then_what_comes
            readers::the_offset_at_a_time_is_the_first_at_or_after_it
            retention::old_records_go_and_the_earliest_offset_advances
            retention::a_partition_is_bounded_by_bytes
            retention::compaction_keeps_the_last_value_of_each_key
            limits::a_record_at_the_limit_passes_and_one_over_it_harms_nothing
            limits::a_full_queue_is_busy_and_recovers
            limits::an_unknown_partition_is_refused
            limits::a_closed_log_says_so
            topics::another_partition_count_is_refused
            topics::missing_topics_are_refused_where_they_are_only_verified
            topics::a_group_needs_topics_of_equal_partition_counts
            sets::a_set_has_lanes_and_groups_of_its_own
            sets::a_reader_of_several_sets_says_of_each_lane_that_it_has_caught_up
            sets::an_idle_group_of_a_set_has_no_lag
            sets::a_set_is_added_to_a_log_with_records
        }

        /// Not a test: what child processes of the tests run.
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[ignore = "runs in child processes of other tests"]
        async fn conformance_child() {
            $crate::conformance::child::run::<$backend>().await;
        }
    };
    (@cases $backend:ty, $($theme:ident::$case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::conformance::support::bounded(
                    stringify!($case),
                    $crate::conformance::$theme::$case::<$backend>(),
                )
                .await;
            }
        )*
    };
}
