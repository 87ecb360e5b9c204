//! What holds whatever happens.

use proptest::prelude::*;

use super::{broke, world::World, *};

/// What holds in every state that can be reached.
pub(super) fn check_legal(job: &Job, effects: &[Effect]) {
    let phase = job.phase();
    assert_eq!(phase == Phase::Failed, job.failure().is_some() && phase.is_over(), "{job:?}");
    assert!(phase != Phase::Cancelled || job.abort_wanted(), "{job:?}");
    let has_its_place = match job.doubt() {
        None => true,
        Some(Doubt::Overdue) => matches!(
            phase,
            Phase::Defining
                | Phase::Starting
                | Phase::CleaningUp
                | Phase::Copying
                | Phase::Switching
        ),
        Some(_) => phase == Phase::Confirming,
    };
    assert!(has_its_place, "{job:?}");
    for effect in effects {
        let fits = match effect {
            Effect::RunGate => phase == Phase::Checking,
            Effect::StopGate => phase == Phase::Cancelled,
            Effect::Prepare => phase == Phase::Preparing,
            Effect::Do(Deed::DefineDestination) => phase == Phase::Defining,
            Effect::ShutDownGuest => phase == Phase::ShuttingDown,
            Effect::Do(Deed::StartDestination) => phase == Phase::Starting,
            Effect::StartMove => phase == Phase::Copying,
            Effect::Watch | Effect::AbortMove => {
                matches!(phase, Phase::Copying | Phase::Switching)
            }
            Effect::RecoverPostCopy | Effect::PausePostCopy => phase == Phase::Switching,
            Effect::SuspendSource => matches!(phase, Phase::Copying | Phase::Switching),
            Effect::Inspect => phase.touches_hosts(),
            Effect::InspectLater => matches!(phase, Phase::Confirming | Phase::CleaningUp),
            Effect::Do(_) => phase == Phase::CleaningUp,
        };
        assert!(fits, "{effect:?} while {phase:?}");
    }
}

fn any_case() -> impl Strategy<Value = (Terms, Facts)> {
    let migration_type = prop::sample::select(vec![
        MigrationType::Offline,
        MigrationType::Live,
        MigrationType::Resume,
        MigrationType::Restart,
    ]);
    let bits = any::<[bool; 6]>();
    let persist = prop::sample::select(vec![None, Some(true), Some(false)]);
    (migration_type, bits, persist).prop_map(|(migration_type, bits, persist)| {
        let [undefine_source, persistent, autostart, paused, defined, copies] = bits;
        let persistent = persistent || migration_type == MigrationType::Offline;
        // What settings.rs and plan.rs refuse: a guest that arrives without running and without a
        // definition, restarting a paused guest or onto a definition that exists.
        let persist = persist.filter(|persist| *persist || migration_type.moves_memory());
        let facts = Facts {
            persistent,
            autostart: autostart && persistent,
            paused: paused && matches!(migration_type, MigrationType::Live | MigrationType::Resume),
            destination_defined: defined && migration_type != MigrationType::Restart,
            copies: copies && migration_type.moves_memory(),
        };
        (Terms { migration_type, persist, undefine_source }, facts)
    })
}

fn any_event() -> impl Strategy<Value = Event> {
    let activity = prop::sample::select(vec![
        Activity::Off,
        Activity::OffMigrated,
        Activity::Ended,
        Activity::Running,
        Activity::Paused,
        Activity::InTransit,
        Activity::PostCopy,
        Activity::PostCopyFailed,
    ]);
    let outgoing =
        prop::sample::select(vec![Outgoing::No, Outgoing::No, Outgoing::Ours, Outgoing::Foreign]);
    let present =
        (activity, any::<[bool; 3]>(), outgoing).prop_map(|(activity, bits, outgoing)| {
            let [persistent, autostart, revived] = bits;
            Sight::Present(Presence { activity, persistent, autostart, outgoing, revived })
        });
    let sight = prop_oneof![Just(Sight::Unreachable), Just(Sight::Absent), present.boxed()].boxed();
    let facts = any::<[bool; 5]>().prop_map(
        |[persistent, autostart, paused, destination_defined, copies]| {
            let facts = Facts { persistent, autostart, paused, destination_defined, copies };
            Event::Prepared(facts)
        },
    );
    prop_oneof![
        Just(Event::Admitted),
        Just(Event::GatePassed),
        facts,
        Just(Event::Did),
        Just(Event::Broke(broke())),
        Just(Event::Lost(broke())),
        Just(Event::Withheld),
        Just(Event::GuestOff),
        any::<bool>().prop_map(|post_copy| Event::Switched { post_copy }),
        prop::sample::select(vec![
            Event::MoveEnded(Ending::Arrived),
            Event::MoveEnded(Ending::Failed(broke())),
            Event::MoveEnded(Ending::Unclear(broke())),
        ]),
        (sight.clone(), sight)
            .prop_map(|(source, destination)| Event::Seen(Sights { source, destination })),
        Just(Event::PatienceOver),
        Just(Event::Overdue),
        Just(Event::Hold),
        Just(Event::GiveUp(broke())),
        Just(Event::Abort),
        Just(Event::Kill),
        Just(Event::Adopted),
        Just(Event::Abandoned(broke())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_guest_is_doubled_or_lost(
        (terms, facts) in any_case(),
        dice in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        World::new(terms, facts, dice).run();
    }

    #[test]
    fn any_events_in_any_order_keep_the_job_legal(
        (terms, _) in any_case(),
        events in prop::collection::vec(any_event(), 0..60),
    ) {
        let mut job = Job::new(terms);
        for event in events {
            if let Ok((next, effects)) = job.clone().on(event) {
                check_legal(&next, &effects);
                job = next;
            }
        }
    }
}
