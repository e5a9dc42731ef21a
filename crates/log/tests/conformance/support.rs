//! What the cases share: making, appending and reading records, and waiting with a bound.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use laneway_log::{
    Batch, Epoch, GroupSpec, Log, LogError, Member, MemberEvent, Reader, RecordRef, Records,
    Result, Topic,
};

/// Nothing that a case waits for takes longer.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a whole case with a bound.
pub async fn bounded<T>(what: &str, case: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE * 3, case).await {
        Ok(done) => done,
        Err(_) => panic!("{what} has not ended in {:?}", PATIENCE * 3),
    }
}

/// Waits for one thing with a bound.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// Asks again and again, with a bound, until there is an answer.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "brokers and retention go by the real clock"
)]
pub fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970");
    since
        .as_millis()
        .try_into()
        .expect("a clock before the year 292 million")
}

/// A record that outlives its batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    pub offset: u64,
    pub timestamp_ms: i64,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl From<RecordRef<'_>> for Owned {
    fn from(record: RecordRef<'_>) -> Self {
        Owned {
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.to_vec(),
            value: record.value.map(<[u8]>::to_vec),
            headers: record
                .headers
                .iter()
                .map(|(n, v)| (n.to_owned(), v.to_vec()))
                .collect(),
        }
    }
}

/// Records whose values are the given numbers, keyed by the number modulo 5.
pub fn numbered(topic: Topic, partition: u32, numbers: impl IntoIterator<Item = u64>) -> Records {
    let mut records = Records::new();
    let now = now_ms();
    for n in numbers {
        let key = format!("k{}", n % 5);
        records.push(
            topic,
            partition,
            now,
            key.as_bytes(),
            [],
            n.to_string().as_bytes(),
        );
    }
    records
}

pub async fn append(log: &Arc<dyn Log>, records: Records) {
    soon("an append", log.append(records))
        .await
        .expect("appending");
}

pub async fn append_numbers(
    log: &Arc<dyn Log>,
    topic: Topic,
    partition: u32,
    numbers: std::ops::Range<u64>,
) {
    append(log, numbered(topic, partition, numbers)).await;
}

/// The number in a value of [`numbered`].
pub fn number(value: Option<&[u8]>) -> u64 {
    let text = std::str::from_utf8(value.expect("a value")).expect("text");
    text.parse().expect("a number")
}

pub fn numbers_of(batch: &Batch) -> Vec<u64> {
    batch.iter().map(|r| number(r.value)).collect()
}

pub async fn reader(log: &Arc<dyn Log>, topic: Topic, from: &[(u32, u64)]) -> Box<dyn Reader> {
    soon("a reader", log.reader(topic, from.to_vec()))
        .await
        .expect("making a reader")
}

pub async fn next(reader: &mut Box<dyn Reader>) -> Result<Batch> {
    soon("the next batch", reader.next()).await
}

/// All that is readable of a partition now, from `offset` on.
pub async fn read_from(
    log: &Arc<dyn Log>,
    topic: Topic,
    partition: u32,
    offset: u64,
) -> Vec<Owned> {
    let until = log.bounds(topic, partition).await.expect("bounds").end;
    let mut reader = reader(log, topic, &[(partition, offset)]).await;
    let mut all = Vec::new();
    loop {
        let batch = next(&mut reader).await.expect("reading");
        all.extend(batch.iter().map(Owned::from));
        if batch.is_empty() && batch.next_offset() >= until {
            return all;
        }
    }
}

pub async fn read_all(log: &Arc<dyn Log>, topic: Topic, partition: u32) -> Vec<Owned> {
    let earliest = log.bounds(topic, partition).await.expect("bounds").earliest;
    read_from(log, topic, partition, earliest).await
}

pub async fn read_numbers(log: &Arc<dyn Log>, topic: Topic, partition: u32) -> Vec<u64> {
    read_all(log, topic, partition)
        .await
        .iter()
        .map(|r| number(r.value.as_deref()))
        .collect()
}

pub fn spec(group: &str, instance: &str) -> GroupSpec {
    GroupSpec::new(
        group,
        &[Topic::LocationUpdates, Topic::SessionEvents],
        instance,
    )
}

pub async fn join(log: &Arc<dyn Log>, spec: GroupSpec) -> Box<dyn Member> {
    soon("joining", log.join(spec)).await.expect("joining")
}

pub async fn event(member: &mut Box<dyn Member>) -> MemberEvent {
    soon("an event of the group", member.next())
        .await
        .expect("an event of the group")
}

/// Goes on until partitions are assigned, giving up what is revoked on the way.
pub async fn assigned(member: &mut Box<dyn Member>) -> (Vec<u32>, Epoch) {
    loop {
        if let MemberEvent::Assigned { partitions, epoch } = event(member).await
            && !partitions.is_empty()
        {
            return (partitions, epoch);
        }
    }
}

/// Goes on until records come.
pub async fn records(member: &mut Box<dyn Member>) -> Batch {
    loop {
        if let MemberEvent::Records(batch) = event(member).await
            && !batch.is_empty()
        {
            return batch;
        }
    }
}

/// A unit that copies a batch to [`Topic::TenantStreams`].
pub fn copy_of(batch: &Batch, epoch: Epoch) -> laneway_log::Unit {
    let mut records = Records::new();
    for r in batch.iter() {
        let value = r.value.expect("a value");
        records.push(
            Topic::TenantStreams,
            batch.partition(),
            r.timestamp_ms,
            r.key,
            r.headers.iter(),
            value,
        );
    }
    laneway_log::Unit {
        epoch,
        records,
        offsets: vec![(batch.topic(), batch.partition(), batch.next_offset())],
    }
}

/// What a worker of [`copy_until`] has come to.
pub enum Copied {
    /// It was told to stop, and has left.
    Stopped,
    /// Its member had to be dropped.
    Failed(LogError),
}

/// Copies whatever is assigned, unit by unit, until `stop` says so.
pub async fn copy_until(log: &Arc<dyn Log>, spec: GroupSpec, stop: &tokio::sync::Notify) -> Copied {
    let mut member = match soon("joining", log.join(spec)).await {
        Ok(member) => member,
        Err(error) => return Copied::Failed(error),
    };
    let committer = member.committer();
    let mut current = None;
    let mut owned: Vec<u32> = Vec::new();
    loop {
        let event = tokio::select! {
            event = member.next() => event,
            () = stop.notified() => {
                member.leave().await;
                return Copied::Stopped;
            }
        };
        match event {
            Ok(MemberEvent::Assigned { partitions, epoch }) => {
                (owned, current) = (partitions, Some(epoch))
            }
            Ok(MemberEvent::Revoked { .. } | MemberEvent::Lost { .. }) => owned.clear(),
            Ok(MemberEvent::Records(batch)) if owned.contains(&batch.partition()) => {
                let epoch = current.expect("records follow an assignment");
                match soon("a unit", committer.commit(copy_of(&batch, epoch))).await {
                    Ok(()) => {}
                    Err(LogError::Fenced { .. }) => owned.clear(),
                    Err(error) => return Copied::Failed(error),
                }
            }
            Ok(MemberEvent::Records(_)) => {}
            Err(error) => return Copied::Failed(error),
        }
    }
}

/// Waits until the group has committed all of a topic's records.
pub async fn caught_up(log: &Arc<dyn Log>, group: &str, topic: Topic) {
    eventually("the group to catch up", async || {
        let lags = laneway_log::group_lag(&**log, group, topic)
            .await
            .expect("lag");
        lags.iter().all(|l| l.lag == 0).then_some(())
    })
    .await;
}
