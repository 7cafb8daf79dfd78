use super::*;
use crate::access::Workload;

#[test]
fn a_session_carries_no_other_users_flows() {
    let mut world = World::signed_in_for(Owner::User(1000));

    let _permit = world.open(&of(1000));

    assert_eq!(
        world.decide(&of(1001)).map_err(|denial| denial.reason),
        Err(Reason::OtherUser)
    );
}

#[test]
fn a_session_yields_to_the_administrators_sign_in_and_to_no_other_users() {
    let mut world = World::signed_in_for(Owner::User(1000));
    let mut asked_by = |owner| {
        world.feed(Event::SignInRequested {
            method: SignInMethod::Browser,
            owner,
        });
        world.sign_ins.len()
    };

    assert_eq!(asked_by(Owner::User(1001)), 0);
    assert_eq!(asked_by(Owner::Machine), 1);
    assert_eq!(world.connector.owner(), Some(Owner::User(1000)));
}

fn of(user: u32) -> Flow {
    Flow {
        workload: Workload::UnknownOf(user),
        ..wiki(80)
    }
}
