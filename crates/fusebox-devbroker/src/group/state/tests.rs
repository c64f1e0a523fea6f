//! Groups driven by hand, with hand-made time.

use oneshot::{Receiver, error::TryRecvError};

use super::*;

const DELAY: Duration = Duration::from_millis(100);
const SESSION: Duration = Duration::from_secs(6);
const REBALANCE: Duration = Duration::from_secs(30);

type JoinAnswer = Receiver<Result<Joined, JoinRefused>>;

fn join(member_id: &str) -> Join {
    Join {
        member_id: member_id.to_owned(),
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        protocol_type: "consumer".to_owned(),
        protocols: vec![
            ("range".to_owned(), Bytes::from_static(b"r")),
            ("sticky".to_owned(), Bytes::from_static(b"s")),
        ],
        client_id: "c".to_owned(),
        client_host: "h".to_owned(),
        names_first: false,
    }
}

fn ask(group: &mut Group, now: Instant, join: Join) -> JoinAnswer {
    let (reply, answer) = oneshot::channel();
    group.join(now, join, reply);
    answer
}

fn sync(
    group: &mut Group,
    now: Instant,
    joined: &Joined,
    plan: Vec<(String, Bytes)>,
) -> Receiver<Result<Bytes, ResponseError>> {
    let (reply, answer) = oneshot::channel();
    group.sync(now, &joined.member_id, joined.generation, plan, reply);
    answer
}

fn joined(answer: &mut JoinAnswer) -> Joined {
    answer.try_recv().unwrap().unwrap()
}

/// A stable group of so many, its leader first.
fn stable(group: &mut Group, now: Instant, members: usize) -> Vec<Joined> {
    let mut answers: Vec<_> = (0..members).map(|_| ask(group, now, join(""))).collect();
    group.tick(now + DELAY);
    let mut all: Vec<Joined> = answers.iter_mut().map(joined).collect();
    all.sort_by_key(|m| m.member_id != m.leader);
    let part = |m: &Joined| (m.member_id.clone(), Bytes::from(m.member_id.clone()));
    let plan: Vec<_> = all.iter().map(part).collect();
    let mut waiting: Vec<_> = all[1..]
        .iter()
        .map(|member| sync(group, now, member, vec![]))
        .collect();
    for answer in &mut waiting {
        assert_eq!(answer.try_recv(), Err(TryRecvError::Empty));
    }
    let mut leaders = sync(group, now, &all[0], plan);
    assert_eq!(leaders.try_recv().unwrap().unwrap(), all[0].member_id);
    for (answer, member) in waiting.iter_mut().zip(&all[1..]) {
        assert_eq!(answer.try_recv().unwrap().unwrap(), member.member_id);
    }
    assert_eq!(group.state_name(), "Stable");
    all
}

#[test]
fn the_first_members_are_gathered_and_only_the_leader_learns_of_all() {
    let mut group = Group::new(DELAY);
    let now = Instant::now();
    let mut first = ask(&mut group, now, join(""));
    let mut second = ask(&mut group, now + DELAY / 2, join(""));
    assert_eq!(group.next_deadline(), Some(now + DELAY));
    group.tick(now + DELAY / 2);
    assert_eq!(first.try_recv(), Err(TryRecvError::Empty));
    group.tick(now + DELAY);
    let (first, second) = (joined(&mut first), joined(&mut second));
    assert_eq!((first.generation, second.generation), (1, 1));
    assert_eq!(first.leader, first.member_id);
    assert_eq!(second.leader, first.member_id);
    assert_eq!((first.members.len(), second.members.len()), (2, 0));
    assert_eq!(first.members[0].1, "r");
}

#[test]
fn a_new_member_makes_the_others_rejoin() {
    let mut group = Group::new(DELAY);
    let now = Instant::now();
    let members = stable(&mut group, now, 2);
    let mut third = ask(&mut group, now, join(""));
    for member in &members {
        let beat = group.heartbeat(now, &member.member_id, 1);
        assert_eq!(beat, Err(ResponseError::RebalanceInProgress));
        // What was read may still be committed.
        assert_eq!(group.may_commit(now, &member.member_id, 1), Ok(()));
    }
    let mut first = ask(&mut group, now, join(&members[0].member_id));
    assert_eq!(third.try_recv(), Err(TryRecvError::Empty));
    let mut second = ask(&mut group, now, join(&members[1].member_id));
    // All are there: nobody waits any longer.
    let first = joined(&mut first);
    assert_eq!((first.generation, first.members.len()), (2, 3));
    assert_eq!(first.leader, members[0].member_id);
    assert_eq!(joined(&mut second).generation, 2);
    assert_eq!(joined(&mut third).generation, 2);
    let stale = group.may_commit(now, &first.member_id, 1);
    assert_eq!(stale, Err(ResponseError::IllegalGeneration));
}

#[test]
fn who_does_not_rejoin_in_time_is_out() {
    let mut group = Group::new(DELAY);
    let now = Instant::now();
    let members = stable(&mut group, now, 2);
    group.leave(now, &members[1].member_id).unwrap();
    let mut new = ask(&mut group, now, join(""));
    // The other one is alive, but does not rejoin.
    let mut at = now;
    while at < now + REBALANCE {
        let beat = group.heartbeat(at, &members[0].member_id, 1);
        assert_eq!(beat, Err(ResponseError::RebalanceInProgress));
        group.tick(at);
        assert_eq!(new.try_recv(), Err(TryRecvError::Empty));
        at += SESSION / 2;
    }
    group.tick(now + REBALANCE);
    let new = joined(&mut new);
    assert_eq!((new.leader.clone(), new.members.len()), (new.member_id, 1));
    let gone = group.heartbeat(at, &members[0].member_id, 1);
    assert_eq!(gone, Err(ResponseError::UnknownMemberId));
}

#[test]
fn the_silent_are_removed_and_their_parts_given_to_others() {
    let mut group = Group::new(DELAY);
    let now = Instant::now();
    let members = stable(&mut group, now, 3);
    let later = now + SESSION / 2;
    for member in &members[..2] {
        group.heartbeat(later, &member.member_id, 1).unwrap();
    }
    assert_eq!(group.next_deadline(), Some(now + SESSION));
    group.tick(now + SESSION);
    assert_eq!(group.state_name(), "PreparingRebalance");
    let mut first = ask(&mut group, now + SESSION, join(&members[0].member_id));
    let _second = ask(&mut group, now + SESSION, join(&members[1].member_id));
    assert_eq!(joined(&mut first).members.len(), 2);
}

#[test]
fn a_group_whose_last_member_leaves_is_unused() {
    let mut group = Group::new(DELAY);
    let now = Instant::now();
    let members = stable(&mut group, now, 1);
    assert!(!group.is_unused());
    group.leave(now, &members[0].member_id).unwrap();
    assert!(group.is_unused());
    assert_eq!((group.state_name(), group.next_deadline()), ("Empty", None));
    // Someone who is no member may commit to it now.
    assert_eq!(group.may_commit(now, "", -1), Ok(()));
}

#[test]
fn a_leader_without_a_plan_is_removed() {
    let mut group = Group::new(DELAY);
    let now = Instant::now();
    let mut answers = [
        ask(&mut group, now, join("")),
        ask(&mut group, now, join("")),
    ];
    group.tick(now + DELAY);
    let [leader, other] = answers.each_mut().map(joined);
    assert_eq!(leader.member_id, leader.leader);
    let mut waiting = sync(&mut group, now, &other, vec![]);
    let mut at = now;
    while at < now + DELAY + REBALANCE {
        group.heartbeat(at, &leader.member_id, 1).unwrap();
        group.tick(at);
        assert_eq!(waiting.try_recv(), Err(TryRecvError::Empty));
        at += SESSION / 2;
    }
    group.tick(now + DELAY + REBALANCE);
    let code = waiting.try_recv().unwrap().unwrap_err();
    assert_eq!(code, ResponseError::RebalanceInProgress);
    let mut again = ask(&mut group, at, join(&other.member_id));
    assert_eq!(joined(&mut again).leader, other.member_id);
}

#[test]
fn a_newcomer_is_named_first_and_a_name_is_not_kept_for_ever() {
    let mut group = Group::new(DELAY);
    let now = Instant::now();
    let newcomer = Join {
        names_first: true,
        ..join("")
    };
    let named = ask(&mut group, now, newcomer.clone())
        .try_recv()
        .unwrap()
        .unwrap_err();
    assert_eq!(named.code, ResponseError::MemberIdRequired);
    let back = Join {
        member_id: named.member_id,
        ..newcomer.clone()
    };
    let mut answer = ask(&mut group, now, back);
    group.tick(now + DELAY);
    assert_eq!(joined(&mut answer).generation, 1);
    let named = ask(&mut group, now, newcomer.clone())
        .try_recv()
        .unwrap()
        .unwrap_err();
    group.tick(now + NAMED_FOR);
    let back = Join {
        member_id: named.member_id,
        ..newcomer
    };
    let late = ask(&mut group, now + NAMED_FOR, back)
        .try_recv()
        .unwrap()
        .unwrap_err();
    assert_eq!(late.code, ResponseError::UnknownMemberId);
}

#[test]
fn who_divides_in_another_way_is_refused_and_the_common_way_is_chosen() {
    let mut group = Group::new(DELAY);
    let now = Instant::now();
    let mut first = ask(&mut group, now, join(""));
    let with = |protocols: Vec<&str>| Join {
        protocols: protocols
            .into_iter()
            .map(|name| (name.to_owned(), Bytes::new()))
            .collect(),
        ..join("")
    };
    for strange in [with(vec!["other"]), with(vec![])] {
        let refused = ask(&mut group, now, strange)
            .try_recv()
            .unwrap()
            .unwrap_err();
        assert_eq!(refused.code, ResponseError::InconsistentGroupProtocol);
    }
    let _second = ask(&mut group, now, with(vec!["other", "sticky"]));
    group.tick(now + DELAY);
    let first = joined(&mut first);
    assert_eq!(first.protocol, "sticky");
    assert_eq!(first.members.len(), 2);
}

#[test]
fn who_hangs_up_while_joining_is_not_waited_for() {
    let mut group = Group::new(DELAY);
    let now = Instant::now();
    drop(ask(&mut group, now, join("")));
    let mut second = ask(&mut group, now, join(""));
    group.tick(now + DELAY);
    assert_eq!(joined(&mut second).members.len(), 1);
}

#[test]
fn a_member_that_asks_again_is_told_the_same() {
    let mut group = Group::new(DELAY);
    let now = Instant::now();
    let members = stable(&mut group, now, 2);
    let again = joined(&mut ask(&mut group, now, join(&members[1].member_id)));
    assert_eq!(again, members[1]);
    let part = sync(&mut group, now, &again, vec![]).try_recv().unwrap();
    assert_eq!(part.unwrap(), members[1].member_id);
    // Another subscription is another matter.
    let mut changed = join(&members[1].member_id);
    changed.protocols[0].1 = Bytes::from_static(b"new");
    let mut answer = ask(&mut group, now, changed);
    assert_eq!(answer.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(group.state_name(), "PreparingRebalance");
}
