use super::*;

#[test]
fn a_spent_budget_refuses_and_a_dropped_reservation_gives_back() {
    let budget = Budget::new(100);
    let mut first = budget.reserve(60).unwrap();
    assert!(budget.reserve(41).is_none());
    assert!(first.grow(40));
    assert!(!first.grow(1));
    assert_eq!((budget.used(), first.bytes()), (100, 100));
    first.shrink(30);
    assert_eq!(budget.used(), 70);
    drop(first);
    assert_eq!(budget.used(), 0);
}

#[test]
fn what_is_idle_goes_before_anything_is_refused() {
    let budget = Budget::new(100);
    let idle = Arc::new(Mutex::new(vec![budget.reserve(60).unwrap()]));
    budget.reclaim_by({
        let idle = Arc::clone(&idle);
        move || {
            let reservations = std::mem::take(&mut *idle.lock().unwrap());
            !reservations.is_empty()
        }
    });
    let first = budget.reserve(80);
    assert!(first.is_some() && budget.reserve(80).is_none());
    assert_eq!(budget.used(), 80);
}

#[test]
fn what_was_gathered_stays_with_its_owner_where_more_was_asked_for_than_there_is() {
    let budget = Budget::new(100);
    let others = budget.reserve(40).unwrap();
    let gathering = budget.gather(50).unwrap();
    assert!(gathering.collect());
    let mut gathered = gathering.take().unwrap();
    assert!(gathered.draw(61).is_none());
    assert_eq!((gathered.bytes(), budget.used()), (50, 90));
    assert!(budget.reserve(11).is_none(), "nobody else has it");
    let most = gathered.draw(60).unwrap();
    assert_eq!((most.bytes(), gathered.bytes()), (60, 0));
    drop((most, others, gathered));
    let mut gathered = budget.reserve(50).unwrap();
    let least = gathered.draw(30).unwrap();
    let held = (least.bytes(), gathered.bytes(), budget.used());
    assert_eq!(held, (30, 20, 50));
    drop((least, gathered));
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_standing_reservation_comes_back_as_large_as_it_was() {
    let budget = Budget::new(100);
    let standing = Standing::new(budget.reserve(60).unwrap());
    let mut lent = standing.lend().unwrap();
    assert!(standing.lend().is_none());
    assert!(lent.grow(40));
    drop(lent);
    assert_eq!(budget.used(), 60);
    let mut lent = standing.lend().unwrap();
    lent.shrink(10);
    drop(lent);
    assert_eq!(budget.used(), 50);
    drop(standing);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_part_leaves_the_rest_and_counts_in_the_whole() {
    let whole = Budget::new(100);
    let part = whole.part(30);
    let mut held = part.reserve(20).unwrap();
    assert!(!held.grow(11) && held.grow(10));
    assert_eq!((part.used(), whole.used(), held.free()), (30, 30, 0));
    held.shrink(20);
    assert_eq!((part.used(), whole.used(), held.free()), (10, 10, 20));
    // The whole is spent before its part is.
    let others = whole.reserve(85).unwrap();
    assert_eq!(held.free(), 5);
    assert!(!held.grow(6));
    assert_eq!((part.used(), whole.used()), (10, 95));
    drop((held, others));
    assert_eq!((part.used(), whole.used()), (0, 0));
}

#[test]
fn a_request_that_overflows_is_refused() {
    let budget = Budget::new(usize::MAX);
    let _held = budget.reserve(10).unwrap();
    assert!(budget.reserve(usize::MAX).is_none());
    assert_eq!(budget.used(), 10);
}

#[test]
fn threads_never_exceed_the_limit_together() {
    let budget = Budget::new(1000);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    let held = budget.reserve(300);
                    assert!(budget.used() <= 1000);
                    drop(held);
                }
            });
        }
    });
    assert_eq!(budget.used(), 0);
}

#[test]
fn what_is_given_back_is_gathered_and_what_is_new_gets_none_of_it() {
    let budget = Budget::new(100);
    let [mut first, second] = [40, 50].map(|bytes| budget.reserve(bytes).unwrap());
    let gathering = budget.gather(70).unwrap();
    assert!(!gathering.collect(), "ten are free");
    assert!(budget.gather(1).is_none(), "one gathers at a time");
    first.shrink(30);
    assert_eq!((budget.used(), budget.free()), (100, 40));
    assert!(budget.is_gathering() && budget.reserve_for_new(1).is_none());
    // What has begun goes on, and has what it needs.
    assert!(first.grow(15) && budget.reserve(5).is_some());
    assert_eq!(budget.used(), 100);
    assert!(!first.grow(30), "there are twenty-five");
    drop(second);
    assert!(gathering.collect() && !budget.is_gathering());
    assert!(budget.reserve_for_new(6).is_none());
    let spare = budget.reserve_for_new(5);
    let mut gathered = gathering.take().unwrap();
    assert_eq!((gathered.bytes(), budget.used()), (70, 100));
    let part = gathered.split(30);
    assert_eq!((part.bytes(), gathered.bytes()), (30, 40));
    assert_eq!(gathered.split(50).bytes(), 40);
    drop((first, spare, part, gathered));
    assert_eq!(budget.used(), 0);
}

#[test]
fn whoever_waits_for_what_is_gathered_is_told_and_what_is_given_up_is_free() {
    let budget = Budget::new(100);
    let held = budget.reserve(100).unwrap();
    let gathering = budget.gather(60).unwrap();
    let gathered = gathering.gathered();
    std::thread::scope(|scope| {
        scope.spawn(|| drop(held));
        smol::block_on(gathered);
    });
    assert!(gathering.collect());
    drop(gathering);
    assert_eq!(budget.used(), 0);
    assert!(budget.gather(1).is_some(), "another may");
}

#[test]
fn threads_that_take_and_give_while_one_gathers_lose_no_byte() {
    let budget = Budget::new(1000);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for turn in 0..5_000 {
                    let mut held = match turn % 2 {
                        0 => budget.reserve(300),
                        _ => budget.reserve_for_new(300),
                    };
                    let _ = held.as_mut().is_some_and(|held| held.grow(100));
                    assert!(budget.used() <= 1000);
                }
            });
        }
        for _ in 0..500 {
            let gathering = budget.gather(700).unwrap();
            gathering.collect();
            drop(gathering.take());
        }
    });
    assert_eq!(budget.used(), 0);
}
