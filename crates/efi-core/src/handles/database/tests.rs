use super::*;
use std::vec;
use uguid::guid;

const A: Guid = guid!("00000000-0000-0000-0000-00000000000a");
const B: Guid = guid!("00000000-0000-0000-0000-00000000000b");
const INVALID: Status = Status::INVALID_PARAMETER;
const DEAD: Handle = Handle(0x1234);

#[test]
fn protocols_are_installed_once_and_the_handle_dies_with_the_last() {
    let mut db = Database::new();
    let handle = db.install(None, A, 1).unwrap();
    assert_eq!(db.install(Some(handle), A, 2), Err(INVALID));
    assert_eq!(db.install(Some(DEAD), A, 2), Err(INVALID));
    assert_eq!(db.install(Some(handle), B, 2), Ok(handle));
    assert_eq!(db.protocols(handle).unwrap().collect::<Vec<_>>(), [A, B]);
    assert_eq!(db.interface(handle, B), Ok(2));
    assert_eq!(db.uninstall(handle, A, 7), Err(Status::NOT_FOUND));
    assert_eq!(db.uninstall(handle, A, 1), Ok(()));
    assert_eq!(db.interface(handle, A), Err(Status::UNSUPPORTED));
    assert_eq!(db.uninstall(handle, A, 1), Err(Status::NOT_FOUND));
    assert_eq!(db.uninstall(handle, B, 2), Ok(()));
    assert!(!db.is_valid(handle));
    assert_eq!(db.interface(handle, B), Err(INVALID));
    assert_ne!(db.install(None, A, 1), Ok(handle), "numbers are not used again");
}

#[test]
fn several_protocols_are_one_transaction() {
    let mut db = Database::new();
    assert_eq!(db.install_multiple(None, &[]), Err(INVALID));
    assert_eq!(db.install_multiple(None, &[(A, 1), (A, 2)]), Err(INVALID));
    let handle = db.install_multiple(None, &[(A, 1)]).unwrap();
    assert_eq!(db.install_multiple(Some(handle), &[(B, 1), (A, 2)]), Err(INVALID));
    assert_eq!(db.interface(handle, B), Err(Status::UNSUPPORTED));
    assert_eq!(db.install_multiple(Some(handle), &[(B, 5)]), Ok(handle));
    assert_eq!(db.uninstall_multiple(handle, &[(A, 1), (B, 6)]), Err(INVALID));
    assert_eq!(db.uninstall_multiple(handle, &[(A, 1), (A, 1)]), Err(INVALID));
    assert_eq!(db.protocols(handle).unwrap().count(), 2);
    assert_eq!(db.uninstall_multiple(handle, &[(A, 1), (B, 5)]), Ok(()));
    assert!(!db.is_valid(handle));
}

#[test]
fn opens_follow_the_rules_of_drivers() {
    let mut db = Database::new();
    let [device, other, agent, driver] = [1, 2, 3, 4].map(|n| db.install(None, A, n).unwrap());
    let (by_driver, exclusive) = (OpenAttributes::BY_DRIVER, OpenAttributes::EXCLUSIVE);
    let get = OpenAttributes::GET_PROTOCOL;
    let child = OpenAttributes::BY_CHILD_CONTROLLER;
    let denied = Err(Status::ACCESS_DENIED);
    let mut check = |guid, agent, controller, attributes, expected: Result<Interface>| {
        assert_eq!(db.open(device, guid, agent, controller, attributes), expected);
    };
    check(A, None, None, get, Ok(1));
    check(B, Some(agent), None, get, Err(Status::UNSUPPORTED));
    check(A, None, Some(device), by_driver, Err(INVALID));
    check(A, Some(DEAD), Some(device), by_driver, Err(INVALID));
    check(A, Some(agent), None, by_driver, Err(INVALID));
    check(A, None, None, exclusive, Err(INVALID));
    check(A, Some(agent), Some(DEAD), exclusive, Err(INVALID));
    check(A, Some(agent), Some(device), child, Err(INVALID));
    check(A, Some(agent), Some(other), child, Ok(1));
    check(A, Some(agent), Some(device), by_driver, Ok(1));
    check(
        A,
        Some(agent),
        Some(device),
        by_driver,
        Err(Status::ALREADY_STARTED),
    );
    check(A, Some(driver), Some(device), by_driver, denied);
    check(A, Some(driver), None, exclusive, denied);
    check(A, Some(agent), Some(device), by_driver | exclusive, denied);
    check(A, Some(agent), None, get, Ok(1));
    check(A, Some(agent), None, get, Ok(1));
    check(A, Some(agent), None, OpenAttributes::TEST_PROTOCOL, Ok(1));

    let records = db.open_information(device, A).unwrap();
    let counts: Vec<_> = records.iter().map(|open| (open.attributes, open.count)).collect();
    assert_eq!(counts, [(child, 1), (by_driver, 1), (get, 2)]);
    assert_eq!(db.uninstall(device, A, 1), Err(Status::ACCESS_DENIED));
    assert_eq!(db.reinstall(device, A, 1, 9), Err(Status::ACCESS_DENIED));
    assert_eq!(db.close(device, A, driver, Some(device)), Err(Status::NOT_FOUND));
    assert_eq!(db.close(device, A, DEAD, None), Err(INVALID));
    assert_eq!(db.close(device, A, agent, Some(DEAD)), Err(INVALID));
    assert_eq!(db.close(device, B, agent, None), Err(Status::NOT_FOUND));
    assert_eq!(db.close(device, A, agent, Some(device)), Ok(()));
    assert_eq!(db.open(device, A, Some(driver), None, exclusive), Ok(1));
    db.close_all_of(driver);
    assert_eq!(db.reinstall(device, A, 1, 9), Ok(()));
    assert_eq!(db.interface(device, A), Ok(9));
    assert_eq!(db.open_information(DEAD, A), Err(Status::NOT_FOUND));
}

#[test]
fn only_single_attributes_and_one_combination_are_accepted() {
    for number in 0..=0x80 {
        let expected = [1, 2, 4, 8, 16, 32, 48].contains(&number);
        assert_eq!(
            OpenAttributes::from_number(number).is_ok(),
            expected,
            "{number:#x}"
        );
    }
}

#[test]
fn registrations_return_each_new_handle_once() {
    let mut db = Database::new();
    let old = db.install(None, A, 1).unwrap();
    let key = db.register(A, 77).unwrap();
    let search = Search::Registration(key);
    assert_eq!(db.locate(search), Err(Status::NOT_FOUND));
    assert_eq!(db.locate(Search::Registration(Registration(99))), Err(INVALID));
    let new = db.install_multiple(None, &[(B, 2), (A, 3)]).unwrap();
    let dead = db.install(None, A, 4).unwrap();
    db.reinstall(old, A, 1, 5).unwrap();
    assert_eq!(db.take_signals(), [77, 77, 77]);
    db.uninstall(dead, A, 4).unwrap();
    assert_eq!(db.locate(search), Ok(vec![new]));
    assert_eq!(db.locate_protocol(A, Some(key)), Ok(3));
    assert_eq!(db.locate_protocol(A, Some(key)), Ok(5));
    assert_eq!(db.locate_protocol(A, Some(key)), Err(Status::NOT_FOUND));
    db.forget_event(77);
    db.install(Some(new), guid!("00000000-0000-0000-0000-00000000000c"), 1)
        .unwrap();
    assert!(db.take_signals().is_empty());
    assert_eq!(db.locate(search), Err(INVALID));
}

#[test]
fn searches_return_exactly_not_found() {
    let mut db = Database::new();
    assert_eq!(db.locate(Search::All), Err(Status::NOT_FOUND));
    assert_eq!(db.locate_protocol(A, None), Err(Status::NOT_FOUND));
    let [first, second] = [(A, 1), (B, 2)].map(|(guid, n)| db.install(None, guid, n).unwrap());
    assert_eq!(db.locate(Search::All), Ok(vec![first, second]));
    assert_eq!(db.locate(Search::Protocol(B)), Ok(vec![second]));
    assert_eq!(db.locate_protocol(B, None), Ok(2));
}
