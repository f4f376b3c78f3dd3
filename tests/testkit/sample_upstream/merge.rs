//! The generated calls and the added ones as one list.

use super::catalogue::Position;
use std::iter::Peekable;

/// Two sorted sequences as one, from either end.
pub(super) struct Merge<L: DoubleEndedIterator<Item = Position>, R: DoubleEndedIterator<Item = Position>> {
    left: Ends<L>,
    right: Ends<R>,
}

impl<L: DoubleEndedIterator<Item = Position>, R: DoubleEndedIterator<Item = Position>> Merge<L, R> {
    pub(super) fn new(left: L, right: R) -> Self {
        Self { left: Ends::new(left), right: Ends::new(right) }
    }
}

/// An iterator that can be looked at from both ends.
struct Ends<I: DoubleEndedIterator<Item = Position>> {
    rest: Peekable<I>,
    back: Option<Position>,
}

impl<I: DoubleEndedIterator<Item = Position>> Ends<I> {
    fn new(items: I) -> Self {
        Self { rest: items.peekable(), back: None }
    }

    fn front(&mut self) -> Option<Position> {
        self.rest.peek().copied().or(self.back)
    }

    fn back(&mut self) -> Option<Position> {
        if self.back.is_none() {
            self.back = self.rest.next_back();
        }
        self.back
    }

    fn take_front(&mut self) -> Option<Position> {
        self.rest.next().or_else(|| self.back.take())
    }

    fn take_back(&mut self) -> Option<Position> {
        self.back.take().or_else(|| self.rest.next_back())
    }
}

impl<L: DoubleEndedIterator<Item = Position>, R: DoubleEndedIterator<Item = Position>> Iterator
    for Merge<L, R>
{
    type Item = Position;

    fn next(&mut self) -> Option<Position> {
        match (self.left.front(), self.right.front()) {
            (Some(left), Some(right)) if right < left => self.right.take_front(),
            (Some(_), _) => self.left.take_front(),
            (None, _) => self.right.take_front(),
        }
    }
}

impl<L: DoubleEndedIterator<Item = Position>, R: DoubleEndedIterator<Item = Position>> DoubleEndedIterator
    for Merge<L, R>
{
    fn next_back(&mut self) -> Option<Position> {
        match (self.left.back(), self.right.back()) {
            (Some(left), Some(right)) if right > left => self.right.take_back(),
            (Some(_), _) => self.left.take_back(),
            (None, _) => self.right.take_back(),
        }
    }
}
