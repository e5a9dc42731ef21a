//! The derivation against a model: a naive recomputation over the whole set of fixes. Whatever
//! the order of arrival, the repeats, the units and the restarts, the last word is the same.

#[path = "derivation/model.rs"]
mod model;
#[path = "derivation/run.rs"]
mod run;

use laneway_processor::derive::Bounds;
use model::{Fix, SessionTimes, windows};
use proptest::collection::vec;
use proptest::prelude::*;
use run::{Input, Run};

const WIDE: Bounds = Bounds {
    horizon_us: 86_400_000_000,
    max_points: 2_000,
    remembered_ids: 20_000,
};
const SECOND: i64 = 1_000_000;
const START: i64 = 1_763_690_400 * SECOND;

fn fix(
    index: usize,
    (at, latitude, longitude, speed, session): (i64, f64, f64, Option<f64>, u8),
) -> Fix {
    Fix {
        id: format!("fix-{index}"),
        at: START + at,
        latitude,
        longitude,
        speed,
        session: (session < 3).then(|| format!("session-{session}")),
    }
}

/// Fixes of 20 minutes, some at the same time, some minutes apart.
fn fixes(most: usize) -> impl Strategy<Value = Vec<Fix>> {
    let at = prop_oneof![(0i64..1200).prop_map(|s| s * SECOND), 0i64..1200 * SECOND];
    let degrees = |from: f64| {
        prop_oneof![
            (from..from + 0.01),
            (0i32..1000).prop_map(move |n| from + f64::from(n) / 1e5)
        ]
    };
    let speed = proptest::option::weighted(0.5, 0.0f64..50.0);
    vec((at, degrees(52.0), degrees(13.0), speed, 0u8..5), 1..most).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(i, f)| fix(i, f))
            .collect()
    })
}

/// Starts and stops of the three sessions.
fn times() -> impl Strategy<Value = Vec<SessionTimes>> {
    let at = || proptest::option::weighted(0.7, (0i64..1200).prop_map(|s| START + s * SECOND));
    vec((at(), at()), 3).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(i, (started_at, stopped_at))| SessionTimes {
                id: format!("session-{i}"),
                started_at,
                stopped_at,
            })
            .collect()
    })
}

fn inputs(fixes: &[Fix], times: &[SessionTimes], repeats: &[usize]) -> Vec<Input> {
    let mut all: Vec<Input> = fixes.iter().cloned().map(Input::Fix).collect();
    for session in times {
        all.extend(
            session
                .started_at
                .map(|at| Input::Start(session.id.clone(), at)),
        );
        all.extend(
            session
                .stopped_at
                .map(|at| Input::Stop(session.id.clone(), at)),
        );
    }
    for repeat in repeats {
        all.push(all[repeat % all.len()].clone());
    }
    all
}

/// Everything a device may be sent, in any order, with the units' lengths.
fn history() -> impl Strategy<Value = (Vec<Fix>, Vec<SessionTimes>, Vec<Input>, Vec<usize>)> {
    (fixes(60), times(), vec(0usize..1000, 0..20)).prop_flat_map(|(fixes, times, repeats)| {
        let all = inputs(&fixes, &times, &repeats);
        (
            Just(fixes),
            Just(times),
            Just(all).prop_shuffle(),
            vec(1usize..12, 1..20),
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_last_revisions_are_what_an_offline_recomputation_gives((fixes, times, inputs, units) in history()) {
        let mut run = Run::new(WIDE);
        run.all(&inputs, &units, false);
        run.close_idle();
        run.check_positions(&fixes);
        prop_assert_eq!(run.windows(), windows(&fixes));
        prop_assert_eq!(run.sessions(), model::sessions(&fixes, &times));
    }

    #[test]
    fn a_restart_after_any_unit_changes_nothing_of_what_follows((_, _, inputs, units) in history()) {
        let mut kept = Run::new(WIDE);
        kept.all(&inputs, &units, false);
        kept.close_idle();
        let mut restarted = Run::new(WIDE);
        restarted.all(&inputs, &units, true);
        restarted.close_idle();
        prop_assert_eq!(kept.said, restarted.said);
    }

    #[test]
    fn forgetting_never_makes_a_window_or_a_distance_wrong(
        (fixes, _, inputs, units) in history(),
        horizon_minutes in 1i64..12,
        max_points in 1usize..40,
        remembered_ids in 0usize..200,
    ) {
        let bounds = Bounds { horizon_us: horizon_minutes * 60 * SECOND, max_points, remembered_ids };
        let mut run = Run::new(bounds);
        run.session_start("session-0", START);
        let inputs: Vec<_> = inputs.into_iter().filter(|i| matches!(i, Input::Fix(_))).collect();
        run.all(&inputs, &units, false);
        run.close_idle();
        let in_time: Vec<Fix> = fixes.iter().filter(|f| !run.late.contains(&f.id)).cloned().collect();
        prop_assert_eq!(run.windows(), windows(&in_time));
        let times = [SessionTimes { id: "session-0".into(), started_at: Some(START), stopped_at: None }];
        prop_assert_eq!(run.sessions(), model::sessions(&in_time, &times));

        let mut restarted = Run::new(bounds);
        restarted.session_start("session-0", START);
        restarted.all(&inputs, &units, true);
        restarted.close_idle();
        prop_assert_eq!(run.said, restarted.said);
    }
}

fn at(index: usize, seconds: i64) -> Input {
    Input::Fix(fix(
        index,
        (seconds * SECOND, 52.0, 13.0 + seconds as f64 / 1e5, None, 9),
    ))
}

#[test]
fn a_window_is_said_when_the_watermark_passes_it_and_again_for_a_late_fix() {
    let mut run = Run::new(WIDE);
    run.all(&[at(0, 10), at(1, 50)], &[2], false);
    assert!(
        run.said.iter().all(|s| !s.contains("window")),
        "an open window was said: {:?}",
        run.said
    );
    run.all(&[at(2, 61)], &[1], false);
    assert_eq!(run.windows().len(), 1);
    run.all(&[at(3, 30)], &[1], false);
    assert_eq!(run.windows()[&START].fixes, 3);
}

#[test]
fn a_fix_in_one_window_changes_the_way_into_the_next() {
    let mut run = Run::new(WIDE);
    run.all(&[at(0, 10), at(1, 70), at(2, 200)], &[3], false);
    let before = run.windows()[&(START + 60 * SECOND)];
    run.all(
        &[Input::Fix(fix(3, (50 * SECOND, 52.5, 13.0, None, 9)))],
        &[1],
        false,
    );
    let after = run.windows()[&(START + 60 * SECOND)];
    assert!(after.distance_m > before.distance_m + 1000.0);
}

#[test]
fn a_device_that_floods_one_minute_stays_bounded() {
    let bounds = Bounds {
        horizon_us: 3600 * SECOND,
        max_points: 16,
        remembered_ids: 0,
    };
    let mut run = Run::new(bounds);
    let inputs: Vec<Input> = (0..2000)
        .map(|i| {
            Input::Fix(fix(
                i,
                (i64::try_from(i).unwrap() * 10_000, 52.0, 13.0, None, 9),
            ))
        })
        .collect();
    run.all(&inputs, &[50], true);
    assert!(
        run.device.points().len() <= 16 * 8 + 1,
        "{} points are kept",
        run.device.points().len()
    );
    assert!(!run.late.is_empty());
}

#[test]
fn more_sessions_than_a_device_may_have_keep_their_revisions_growing() {
    let mut run = Run::new(WIDE);
    for round in 0..3 {
        for session in 0..100 {
            let name = format!("s-{session}");
            let when = i64::from(round * 100 + session);
            run.all(&[Input::Start(name.clone(), START + when)], &[1], false);
            let mut f = fix(0, (when * SECOND, 52.0, 13.0, None, 9));
            (f.id, f.session) = (format!("f-{round}-{session}"), Some(name));
            run.all(&[Input::Fix(f)], &[1], true);
        }
    }
    assert!(run.device.extra().unwrap().sessions.len() <= 64);
}

#[test]
fn ahead_fixes_are_remembered_and_move_nothing() {
    let mut run = Run::new(WIDE);
    run.all(&[at(0, 10)], &[1], false);
    assert!(run.ahead("fix-9", START + 4000 * SECOND));
    assert!(
        !run.ahead("fix-9", START + 4000 * SECOND),
        "a repeat was accepted"
    );
    assert_eq!(run.device.watermark(), Some(START + 10 * SECOND));
    run.close_idle();
    assert_eq!(run.windows().len(), 1);
}

#[test]
fn a_head_is_small_and_blocks_are_written_once() {
    let mut run = Run::new(WIDE);
    let mut heads = 0;
    for i in 0..500usize {
        run.all(&[at(i, i64::try_from(i).unwrap())], &[1], true);
        heads += run.last_head_bytes;
    }
    let mean = heads / 500;
    assert!(mean < 240, "a head has {mean} bytes in the mean");
    assert_eq!(run.blocks_written, 500 / 16);
}

/// A fix a second, and all of them again.
fn sent_twice(count: usize, bounds: Bounds, restart: bool) -> Run {
    let all: Vec<Input> = (0..count)
        .map(|i| at(i, i64::try_from(i).unwrap()))
        .collect();
    let mut run = Run::new(bounds);
    run.all(&all, &[7, 100], restart);
    run.all(&all, &[7, 100], restart);
    run
}

#[test]
fn what_a_device_sends_again_is_a_repeat_though_its_points_are_forgotten() {
    let bounds = Bounds {
        horizon_us: 86_400 * SECOND,
        max_points: 64,
        remembered_ids: 5_000,
    };
    for restart in [false, true] {
        let run = sent_twice(3_000, bounds, restart);
        assert!(run.device.points().len() < 1_000);
        assert!(run.late.is_empty());
        let fixes: Vec<Fix> = (0..3_000usize)
            .map(|i| fix(i, (i64::try_from(i).unwrap() * SECOND, 52.0, 13.0, None, 9)))
            .collect();
        run.check_positions(&fixes);
    }
}

#[test]
fn late_fixes_within_the_horizon_are_repeats_when_they_come_again() {
    let bounds = Bounds {
        horizon_us: 3600 * SECOND,
        max_points: 64,
        remembered_ids: 5_000,
    };
    for restart in [false, true] {
        let mut run = Run::new(bounds);
        let newest: Vec<Input> = (0..600).map(|i| at(10_000 + i, 3000 + i as i64)).collect();
        run.all(&newest, &[50], restart);
        let late: Vec<Input> = (0..500).map(|i| at(i, 100 + i as i64)).collect();
        for _ in 0..3 {
            run.all(&late, &[50], restart);
        }
        assert_eq!(run.late.len(), 500);
        assert_eq!(run.accepted(), 1_100);
    }
}

#[test]
fn remembered_ids_are_bounded_in_number_and_by_the_horizon_in_memory_and_in_the_log() {
    let bounds = Bounds {
        horizon_us: 86_400 * SECOND,
        max_points: 64,
        remembered_ids: 1_000,
    };
    let mut run = sent_twice(3_000, bounds, true);
    let kept = |run: &Run| run.device.seen().map_or(0, |seen| seen.len());
    assert!((900..=1_000).contains(&kept(&run)), "{} ids", kept(&run));
    assert!(run.parts() < 200, "{} parts of its state", run.parts());
    // A day later none of them is within the horizon.
    run.all(&[at(9_000, 100_000), at(9_001, 100_400)], &[1], true);
    assert_eq!(kept(&run), 0);
    assert!(run.parts() < 3, "{} parts of its state", run.parts());
}
