//! Tells a task that a client has something to be polled for. A thread that waits in a poll would
//! be woken for every acknowledgement, and then wake whoever waits for it, on yet another thread.

use std::ffi::c_void;
use std::sync::Arc;

use rdkafka::bindings::{
    rd_kafka_queue_cb_event_enable, rd_kafka_queue_destroy, rd_kafka_queue_get_main,
};
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::types::RDKafka;
use tokio::sync::Notify;

/// Rung by librdkafka's threads. To be held by the client's context, which outlives them.
#[derive(Clone, Default)]
pub(super) struct Bell(Arc<Notify>);

impl Bell {
    /// Rings from now on whenever the client's queue was empty and is no longer.
    #[expect(unsafe_code, reason = "the wrapper has no such call for a producer")]
    pub(super) fn follow<C: ProducerContext>(&self, client: &BaseProducer<C>) {
        let opaque = Arc::as_ptr(&self.0).cast_mut().cast::<c_void>();
        // SAFETY: the client lives for as long as it is borrowed. It calls back with a pointer that
        // its own context holds alive, and has ended before it lets go of the context.
        unsafe {
            let queue = rd_kafka_queue_get_main(client.client().native_ptr());
            rd_kafka_queue_cb_event_enable(queue, Some(ring), opaque);
            rd_kafka_queue_destroy(queue);
        }
        // For what came before.
        self.0.notify_one();
    }

    /// Returns once it has been rung since the last time.
    pub(super) async fn rung(&self) {
        self.0.notified().await;
    }

    pub(super) fn ring(&self) {
        self.0.notify_one();
    }
}

#[expect(unsafe_code, reason = "librdkafka calls it")]
unsafe extern "C" fn ring(_: *mut RDKafka, opaque: *mut c_void) {
    // SAFETY: see `follow`.
    let bell = unsafe { &*opaque.cast::<Notify>() };
    bell.notify_one();
}
