//! Places where a test may stop a process for good, to find out what a crash there leaves behind.
//!
//! Each names one change of an index's pages, before or after which it may be stopped, or one step of an operation on namespaces, after which it
//! may. Only builds with debug assertions can be stopped (`pg::stop_point`).
#![forbid(unsafe_code)]

macro_rules! stop_points {
    (
        pages { $($page:ident = $page_name:literal,)+ }
        steps { $($step:ident = $step_name:literal,)+ }
    ) => {
        /// What is being done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each has a name")]
        pub enum StopPoint {
            $($page,)+
            $($step,)+
        }

        impl StopPoint {
            /// Changes of pages.
            pub const PAGES: &[Self] = &[$(Self::$page),+];
            /// Steps of operations on namespaces.
            pub const STEPS: &[Self] = &[$(Self::$step),+];

            /// What tests call it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$page => $page_name,)+
                    $(Self::$step => $step_name,)+
                }
            }
        }
    };
}

stop_points! {
    pages {
        MetaPage = "first page of an index",
        Append = "append",
        AppendPage = "append to a new page",
        ChainPage = "page of a chain",
        FreePage = "free a page",
        FreedStrays = "strays are free",
        BuiltInline = "rows built into the first page",
        BuiltLists = "built lists named",
        Learned = "learned",
        RemoveEntries = "remove entries",
        CountList = "count of the first list",
        CountLists = "count of a list",
        BeginRewrite = "begin to rewrite",
        SwingRewritten = "rewritten list in place",
        EndRewrite = "end of a rewrite",
        BeginGrow = "begin to grow",
        GrownTree = "grown tree named",
        BeginChoice = "begin to choose lists anew",
        NoChoice = "no other lists to choose",
        ChosenTree = "chosen tree named",
        EndChoice = "end of the choice",
        BeginLists = "begin to write lists",
        Centroid = "centroid of a slot",
        AddSlot = "add a slot",
        SwingLists = "lists in place",
        EndLists = "end of writing lists",
        BeginPack = "begin to pack a list",
        BeginMerge = "begin to give up a list",
        TakeUpPage = "entries taken up by a list",
        BeginCut = "begin to cut",
        Cut = "pages cut off",
        EndCut = "end of a cut",
    }
    steps {
        RootCreated = "root created",
        RootStored = "root's storage set",
        RootIdIndex = "root's id index created",
        RootVectorIndex = "root's vector index created",
        IndexRow = "row of the index written",
        BucketCreated = "bucket created",
        BucketAttached = "bucket attached",
        BucketRow = "row of the bucket written",
        LeafCreated = "leaf created",
        LeafRow = "row of the leaf written",
        DetachedCreated = "detached leaf created",
        RowsCopied = "rows copied",
        LeafAttached = "leaf attached",
        LeafDetached = "leaf detached",
        LeafRewritten = "leaf rewritten",
        RenamedRow = "row of the namespace renamed",
        LimitsMoved = "limits moved",
        LeafDropped = "leaf dropped",
        LeafTruncated = "leaf truncated",
        RootLocked = "root locked for its drop",
        RootDropped = "root dropped",
        BatchDropped = "batch of leaves dropped",
        BatchForgotten = "batch of leaves forgotten",
    }
}

#[cfg(test)]
mod tests {
    use super::StopPoint;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_have_the_same_name() {
        let all = || StopPoint::PAGES.iter().chain(StopPoint::STEPS);
        let names: BTreeSet<_> = all().map(|point| point.name()).collect();
        assert_eq!(names.len(), all().count());
        assert!(names.iter().all(|name| !name.contains([':', ',', '='])));
    }
}
