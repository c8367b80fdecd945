//! Circles in a directed graph.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Shortest circles first, and none that shares an edge with one before it: few enough to read, and as long as there is
/// any circle there is one here. Each begins at its least node.
pub(super) fn circles<Node: Ord + Copy>(edges: &BTreeSet<(Node, Node)>) -> Vec<Vec<Node>> {
    let mut next: BTreeMap<Node, Vec<Node>> = BTreeMap::new();
    for (from, to) in edges {
        next.entry(*from).or_default().push(*to);
    }
    let mut found = BTreeSet::new();
    for (from, to) in edges {
        if let Some(mut circle) = shortest_way(&next, *to, *from) {
            let least = (0..circle.len()).min_by_key(|index| circle.get(*index).copied());
            circle.rotate_left(least.unwrap_or(0));
            found.insert(circle);
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by_key(Vec::len);
    let mut taken = BTreeSet::new();
    found.retain(|circle| {
        let edges: Vec<_> = steps(circle).collect();
        let is_new = edges.iter().all(|edge| !taken.contains(edge));
        if is_new {
            taken.extend(edges);
        }
        is_new
    });
    found
}

/// The edges of a circle.
pub(super) fn steps<Node: Copy>(circle: &[Node]) -> impl Iterator<Item = (Node, Node)> {
    let ends = circle.iter().cycle().skip(1);
    circle.iter().copied().zip(ends.copied())
}

/// The nodes from `start` to `end`, both included.
fn shortest_way<Node: Ord + Copy>(
    next: &BTreeMap<Node, Vec<Node>>,
    start: Node,
    end: Node,
) -> Option<Vec<Node>> {
    let mut came_from: BTreeMap<Node, Node> = BTreeMap::from([(start, start)]);
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        if node == end {
            let mut way = vec![end];
            let mut node = end;
            while node != start {
                node = *came_from.get(&node)?;
                way.push(node);
            }
            way.reverse();
            return Some(way);
        }
        for neighbour in next.get(&node).into_iter().flatten() {
            if !came_from.contains_key(neighbour) {
                came_from.insert(*neighbour, node);
                queue.push_back(*neighbour);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(edges: &[(u32, u32)], expected: &[&[u32]]) {
        assert_eq!(circles(&edges.iter().copied().collect()), expected, "{edges:?}");
    }

    #[test]
    fn circles_share_no_edge() {
        check(&[], &[]);
        check(&[(1, 2), (2, 3), (1, 3)], &[]);
        check(&[(1, 2), (2, 1), (2, 3)], &[&[1, 2]]);
        check(&[(3, 1), (1, 2), (2, 3)], &[&[1, 2, 3]]);
        check(&[(1, 2), (2, 1), (2, 3), (3, 1)], &[&[1, 2]]);
        check(&[(1, 2), (2, 1), (2, 3), (3, 2)], &[&[1, 2], &[2, 3]]);
        check(&[(1, 1)], &[&[1]]);
        check(&[(1, 2), (2, 1), (3, 4), (4, 3), (2, 3)], &[&[1, 2], &[3, 4]]);
    }
}
