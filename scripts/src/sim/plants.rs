//! Bugs to plant into the engine: one for each rule of recovery that says what happens without it, and some that a tired engineer could
//! make. The simulation must see each of them, or it proves nothing.

/// A planted bug.
pub(crate) struct Plant {
    pub(crate) name: &'static str,
    /// The rule that it breaks, and what comes of that.
    pub(crate) rule: &'static str,
    pub(crate) edits: &'static [Edit],
}

/// A change of one file of the engine: the text stands there once.
pub(crate) struct Edit {
    /// Below `engine/src`.
    pub(crate) file: &'static str,
    pub(crate) find: &'static str,
    pub(crate) instead: &'static str,
}

const fn plant(name: &'static str, rule: &'static str, edits: &'static [Edit]) -> Plant {
    Plant { name, rule, edits }
}

const fn edit(file: &'static str, find: &'static str, instead: &'static str) -> Edit {
    Edit { file, find, instead }
}

/// All of them, in the order of the rules.
pub(crate) const PLANTS: &[Plant] = &[
    plant(
        "vouch-for-what-is-written",
        "W1: a frame vouches for what is synced, not for what is written; else a plain power cut looks like damage",
        &[edit(
            "log/writer.rs",
            "            durable_lsn: self.durable_lsn,\n            first_item,",
            "            durable_lsn: lsn.previous(),\n            first_item,",
        )],
    ),
    plant(
        "sync-before-the-write",
        "W2: a sync proves only the writes that were complete when it began; else loss",
        &[edit(
            "log/writer.rs",
            "        match self.file.write_at(self.offset, slices, sync) {",
            "        if sync == Sync::Data {\n            self.file.sync()?;\n        }\n        \
             match self.file.write_at(self.offset, slices, Sync::No) {",
        )],
    ),
    plant(
        "acknowledge-without-a-sync",
        "W4: a group is acknowledged when it is synced; else loss",
        &[edit(
            "log/writer.rs",
            "self.write_with_fill(&mut slices, fill, sync)",
            "self.write_with_fill(&mut slices, fill, Sync::No)",
        )],
    ),
    plant(
        "answer-in-reverse",
        "W4: frames are applied and answered in the order of LSNs",
        &[edit(
            "log/group.rs",
            "        if let Some(waiting) = self.frames.pop_front() {\n            waiting.slot.answer(Ok",
            "        if let Some(waiting) = self.frames.pop_back() {\n            waiting.slot.answer(Ok",
        )],
    ),
    plant(
        "sync-again",
        "W5: a failed sync is not tried again: the second one succeeds and proves nothing",
        &[
            edit(
                "log/writer.rs",
                "            self.file.sync().map_err(|error| {",
                "            self.file.sync().or_else(|_| self.file.sync()).map_err(|error| {",
            ),
            edit(
                "log/writer.rs",
                "            let filled = self.file.write_at(self.offset, slices, sync);",
                "            let filled = self.file.write_at(self.offset, slices, sync).or_else(|error| {\n                \
                 if is_full(&error) { Err(error) } else { self.file.sync() }\n            });",
            ),
        ],
    ),
    plant(
        "go-on-after-a-failed-write",
        "W5: the first failed write or sync stops the log",
        &[edit(
            "log/mod.rs",
            "            flight.fail_with(&self.poison(&error));",
            "            flight.fail_with(&error);",
        )],
    ),
    plant(
        "sync-a-log-that-stopped",
        "W5: nothing is written or synced after the log stopped itself: no checkpoint, no vouching frame",
        &[edit(
            "log/mod.rs",
            "        if let Some(poison) = self.poison.get() {\n            \
             return Err(poison.clone());\n        }\n        let answer = work",
            "        let answer = work",
        )],
    ),
    plant(
        "full-disk-at-a-sync",
        "W5: a sync that fails for want of space is a failed sync, also before a rotation",
        &[edit(
            "log/writer.rs",
            "        self.sync()?;\n        match self.rotate(log, Blocks::Free) {",
            "        match self.rotate(log, Blocks::Free) {",
        )],
    ),
    plant(
        "a-put-rides-with-a-take",
        "W4: only a group of nothing but takes does without a sync, and only where takes may ride with the next put",
        &[edit("log/writer.rs", "if frames.all(|waiting|", "if frames.any(|waiting|")],
    ),
    plant(
        "rotate-without-a-sync",
        "H1: a segment is synced before its successor vouches for it; else a power cut looks like damage",
        &[
            edit(
                "log/writer.rs",
                "        self.sync()?;\n        match self.rotate(log, Blocks::Free) {",
                "        match self.rotate(log, Blocks::Free) {",
            ),
            edit(
                "log/writer.rs",
                "        self.sync()?;\n        let mut header",
                "        let mut header",
            ),
        ],
    ),
    plant(
        "first-lsn-one-too-high",
        "H1: the successor begins behind what is durable",
        &[edit(
            "log/writer.rs",
            "            first_lsn: self.next_lsn,\n",
            "            first_lsn: self.next_lsn.next(),\n",
        )],
    ),
    plant(
        "skip-an-id",
        "H2: ids are dense; else a segment seems to be missing",
        &[edit(
            "log/writer.rs",
            "            id: self.header.id.next(),\n",
            "            id: self.header.id.next().next(),\n",
        )],
    ),
    plant(
        "write-over-a-segment-with-its-name",
        "create, step 1: never over a file that still has a segment's name",
        &[edit(
            "log/retention.rs",
            "                vfs.retire(&segment.path, &name).and_then(|()| {\n                    spares.keep(dir, name, bytes);",
            "                drop(name);\n                Ok::<(), std::io::Error>(()).and_then(|()| {\n                    \
             spares.keep(dir, segment.path.clone(), bytes);",
        )],
    ),
    plant(
        "salt-from-the-id",
        "create, step 2: a fresh salt for each attempt; else frames of a half-made attempt come back",
        &[
            edit(
                "log/writer.rs",
                "            salt: log.dirs.vfs.random(),",
                "            salt: self.header.id.next().get().wrapping_mul(0x9e37_79b9_7f4a_7c15),",
            ),
            edit(
                "log/recover.rs",
                "= (dirs.vfs.random(), scan.vouched);",
                "= (id.get().wrapping_mul(0x9e37_79b9_7f4a_7c15), scan.vouched);",
            ),
        ],
    ),
    plant(
        "name-without-a-sync",
        "create, step 4: a new file is synced before it gets its name",
        &[edit(
            "io/durable.rs",
            "        self.disk.sync_made(file)?;\n",
            "        let _ = file;\n",
        )],
    ),
    plant(
        "name-a-spare-without-a-sync",
        "create, step 4: a head written over a spare is synced before it gets its name",
        &[edit(
            "io/durable.rs",
            "    disk.sync_made(&file)?;\n    disk.rename(donor, path)?;",
            "    disk.rename(donor, path)?;",
        )],
    ),
    plant(
        "name-before-the-head",
        "create, step 5: first the head, then the name",
        &[edit(
            "io/durable.rs",
            "    fill(&file)?;\n    made.name(&file)?;",
            "    made.name(&file)?;\n    fill(&file)?;\n    disk.sync_made(&file)?;",
        )],
    ),
    plant(
        "name-a-spare-before-the-head",
        "create, step 5: first the head over the spare, then the name",
        &[edit(
            "io/durable.rs",
            "    disk.fill(&file, 0, head)?;\n    disk.sync_made(&file)?;\n    disk.rename(donor, path)?;",
            "    disk.rename(donor, path)?;\n    disk.fill(&file, 0, head)?;\n    disk.sync_made(&file)?;",
        )],
    ),
    plant(
        "create-without-a-directory-sync",
        "create, step 6: the directory is synced before anything is built on the name; else loss of the whole segment",
        &[edit(
            "io/durable.rs",
            "        self.is_named = true;\n        sync_parent_of_named(&self.disk, &self.path)",
            "        self.is_named = true;\n        Ok(())",
        )],
    ),
    plant(
        "reuse-without-a-directory-sync",
        "create, step 6: the same for a spare",
        &[edit(
            "io/durable.rs",
            "    disk.rename(donor, path)?;\n    sync_parent_of_named(disk, path)?;",
            "    disk.rename(donor, path)?;",
        )],
    ),
    plant(
        "retire-without-a-directory-sync",
        "retire: the directory is synced; else directories keep removals in different order",
        &[edit(
            "io/durable.rs",
            "    disk.rename(path, spare)?;\n    disk.sync_parent(path)",
            "    disk.rename(path, spare)",
        )],
    ),
    plant(
        "retire-the-newest-first",
        "retire: oldest first; else an id is missing",
        &[edit(
            "log/retention.rs",
            "                segments\n                    .oldest()\n",
            "                segments\n                    .iter()\n                    .rfind(|segment| segment.header.id < keep)\n",
        )],
    ),
    plant(
        "list-without-a-sync",
        "N1: an open syncs each directory before it builds on what the listing shows",
        &[edit(
            "log/dirs.rs",
            "    vfs.sync_dir(dir).map_err(|error| Error::io(\"cannot sync the directory\", dir, error))?;\n    Ok(lock)",
            "    Ok(lock)",
        )],
    ),
    plant(
        "absent-directory",
        "N2: a directory that is absent refuses the open; else a disk that is not mounted looks like an empty log",
        &[edit(
            "log/dirs.rs",
            "            if !ours {",
            "            if !ours && here.is_none() {",
        )],
    ),
    plant(
        "checkpoint-before-the-sync",
        "K1: a checkpoint is published only over what is durable",
        &[
            edit(
                "log/mod.rs",
                "            writer.sync()?;\n            let next_frame",
                "            let next_frame",
            ),
            edit(
                "log/mod.rs",
                "                lsn: writer.durable_lsn,\n",
                "                lsn: writer.next_lsn.previous(),\n",
            ),
        ],
    ),
    plant(
        "checkpoint-vouches-for-nothing",
        "K2: a checkpoint vouches for all up to its LSN",
        &[edit(
            "log/scan.rs",
            "        vouched: start.image_lsn.max(from_headers),",
            "        vouched: from_headers,",
        )],
    ),
    plant(
        "scan-from-the-start",
        "K3: the scan starts at the place that the image names; else a damaged old frame hides newer ones, silently",
        &[edit(
            "log/recover.rs",
            "    let mut place = image.next_frame;\n",
            "    let mut place = image.next_frame;\n    place.offset = SEGMENT_HEADER_LEN as u64;\n",
        )],
    ),
    plant(
        "keep-old-checkpoints",
        "K4: all but the two newest checkpoints are removed; else a crash leaks one for ever",
        &[edit(
            "queue/checkpoint.rs",
            "        checkpoints.spend_old();\n        checkpoints",
            "        checkpoints.kept.truncate(2);\n        checkpoints",
        )],
    ),
    plant(
        "keep-invalid-checkpoints",
        "K4: what counts are the valid ones: an invalid one is removed",
        &[edit(
            "queue/checkpoint.rs",
            "                Err(_) => checkpoints.spent.push(path.clone()),",
            "                Err(_) => {}",
        )],
    ),
    plant(
        "retain-by-the-present-state",
        "S1: a segment is needed while the newest published image owes an event in it; the present state may not survive",
        &[
            edit(
                "queue/checkpoint.rs",
                "        let state = State::from_image(&newest.image.owner)?;",
                "        let _ = newest;\n        let state = State::from_image(&log.present())?;",
            ),
            edit(
                "log/mod.rs",
                "    /// Why the log stopped itself, if it did.\n",
                "    pub(crate) fn present(&self) -> Vec<u8> {\n        self.apply.image()\n    }\n\n    \
                 /// Why the log stopped itself, if it did.\n",
            ),
        ],
    ),
    plant(
        "retain-without-a-look-at-what-is-owed",
        "S1: a segment is needed while an event in it is owed",
        &[edit(
            "queue/checkpoint.rs",
            "        let events = if state.owed() > 0 { log.segment_of_item(state.head()) } else { frames };",
            "        let _ = state;\n        let events = frames;",
        )],
    ),
    plant(
        "release-before-the-sync",
        "S1, of a bare log: what is released goes when the release is durable",
        &[edit("log/wal.rs", "        self.log.sync().map_err(CommitError::Unknown)?;\n", "")],
    ),
    plant(
        "open-without-a-checkpoint",
        "S3: an open makes a checkpoint and gives back segments; else short lives pile them up",
        &[edit(
            "queue/recover.rs",
            "    if let Err(error) = log.durable_image().and_then(|image| checkpoints.publish(&log, image)) {",
            "    let _ = &mut checkpoints;\n    if let Err(error) = log.durable_image().map(drop) {",
        )],
    ),
    plant(
        "check-before-the-replay",
        "S4: what an image points to is checked after the replay: a later take may have freed a segment that is gone",
        &[edit(
            "log/recover.rs",
            "    let mut recovering = Recovering::behind(",
            "    if let Some(oldest) = segments.oldest()\n        \
             && let Some(missing) = apply.missing_before(&oldest.header, &[])?\n    {\n        \
             return Err(Error::corrupt(missing.what).in_file(&dirs.home));\n    }\n    \
             let mut recovering = Recovering::behind(",
        )],
    ),
    plant(
        "close-without-a-witness",
        "V: a close writes a frame that vouches for the last group; else damage to that looks like a torn end",
        &[edit(
            "log/mod.rs",
            "            self.with_writer(|writer| writer.vouch(self))",
            "            self.with_writer(Writer::sync)",
        )],
    ),
    plant(
        "witness-in-the-same-block",
        "V: no data shares a block with its witness; else one bad block takes both",
        &[edit(
            "log/writer.rs",
            "        for len in [first, FRAME_HEADER_LEN as u64] {",
            "        let _ = first;\n        for len in [FRAME_HEADER_LEN as u64] {",
        )],
    ),
    plant(
        "witness-without-end",
        "V: a witness needs no witness; else it would never end",
        &[edit(
            "log/writer.rs",
            "        if matches!(self.last_kind, Kind::VOUCH | Kind::IMAGE) {",
            "        if matches!(self.last_kind, Kind::IMAGE) {",
        )],
    ),
    plant(
        "interval-claims-durable",
        "Interval: acknowledged means written, and durable only what a sync covered",
        &[edit(
            "log/writer.rs",
            "        let durable = sync == Sync::Data;",
            "        let durable = true;",
        )],
    ),
    plant(
        "drop-the-unvouched",
        "recovery, step 8: frames that nobody vouches for are written anew, since they may have been acknowledged",
        &[edit(
            "log/recover.rs",
            "    for old in &scan.held_back {",
            "    for old in scan.held_back.iter().take(0) {",
        )],
    ),
    plant(
        "search-nothing-behind-the-end",
        "recovery, step 4: what lies behind the end of the run may vouch for what is missing",
        &[edit(
            "log/scan.rs",
            "            follows |= self.look_behind(reader, offset)?;",
            "            follows |= false;",
        )],
    ),
    plant(
        "a-new-id-at-each-open",
        "recovery, step 8: a newest segment with nothing vouched for is taken over; else each crash leaves one behind",
        &[edit(
            "log/recover.rs",
            "        Some(newest) if newest.header.first_lsn == first_lsn && in_place(newest) => {",
            "        Some(newest) if newest.header.first_lsn == first_lsn && in_place(newest) && false => {",
        )],
    ),
    plant(
        "the-same-epoch",
        "recovery, step 8: a new epoch, so that what is void stays void",
        &[
            edit(
                "log/recover.rs",
                "    let epoch = segments.newest().map_or(0, |newest| newest.header.epoch).saturating_add(1);",
                "    let epoch = segments.newest().map_or(0, |newest| newest.header.epoch).max(1);",
            ),
            // The first LSN of the next segment says the same a second time.
            edit("log/segments.rs", ".chain(next).min()", ".min()"),
        ],
    ),
    plant(
        "cut-at-the-end",
        "recovery, step 8: what was written anew is void where it was",
        &[
            edit(
                "log/recover.rs",
                "= (dirs.vfs.random(), scan.vouched);",
                "= (dirs.vfs.random(), scan.end);",
            ),
            // The first LSN of the next segment says the same a second time.
            edit("log/segments.rs", ".chain(next).min()", ".min()"),
        ],
    ),
    plant(
        "spend-the-reserve",
        "recovery: spares are kept in reserve, since an open on a full disk needs a segment",
        &[edit(
            "log/spares.rs",
            "let spares = self.by_dir.get(dir).filter(|spares| spares.len() > RESERVES)?;",
            "let spares = self.by_dir.get(dir)?;",
        )],
    ),
    plant(
        "open-without-the-last-reserve",
        "a full disk: the last reserve is for an open, which needs a segment too",
        &[edit(
            "log/spares.rs",
            "            Blocks::OrLast => 0,",
            "            Blocks::OrLast => 2,",
        )],
    ),
    plant(
        "put-into-the-reserve",
        "a full disk: only takes are written in a reserve; else it fills, and the channel cannot drain",
        &[edit(
            "log/writer.rs",
            "        log.set_on_reserve(on_reserve);\n        let file_len",
            "        log.set_on_reserve(false);\n        let _ = on_reserve;\n        let file_len",
        )],
    ),
    plant(
        "refuse-without-an-epoch",
        "a full disk: what was refused is made void by an epoch; else it comes back after a crash",
        &[
            edit(
                "log/writer.rs",
                "        self.left_behind = true;\n        let blocks",
                "        let blocks",
            ),
            // The first LSN of the next segment says the same a second time.
            edit("log/segments.rs", ".chain(next).min()", ".min()"),
        ],
    ),
    plant(
        "refuse-without-a-wipe",
        "a full disk: what was refused without a next segment is overwritten; else it comes back after a crash",
        &[edit("log/writer.rs", "                self.wipe(flight)?;\n", "")],
    ),
    plant(
        "refuse-before-it-is-void",
        "a full disk: puts are refused when the segment that makes them void is durable, not before",
        &[edit(
            "log/writer.rs",
            "        self.left_behind = true;\n        let blocks",
            "        self.left_behind = true;\n        flight.refuse(error, |request| request.refusable);\n        let blocks",
        )],
    ),
    plant(
        "leave-a-witness-behind",
        "V: a vouching frame for which there was no room must not stay valid: its LSN is given again",
        &[
            edit("log/writer.rs", "                self.left_behind = true;\n", ""),
            // The first LSN of the next segment says the same a second time.
            edit("log/segments.rs", ".chain(next).min()", ".min()"),
        ],
    ),
    plant(
        "idle-without-a-witness",
        "V: an idle log vouches for its last group",
        &[edit(
            "log/mod.rs",
            "if since < self.idle_time() { Ok(()) }",
            "if since < self.idle_time() * 1_000 { Ok(()) }",
        )],
    ),
    plant(
        "leave-what-is-half-made",
        "create, and ahead: what was begun and cannot be completed is removed; else it takes room until the next open",
        &[edit(
            "io/durable.rs",
            "        if !self.is_named {\n            drop(self",
            "        if false {\n            drop(self",
        )],
    ),
    plant(
        "go-on-without-a-record",
        "quarantine: a damage is recorded before the log goes on behind it; else events are lost in silence",
        &[edit(
            "log/recover.rs",
            "        match quarantine.add_or_remember(vfs, damage.clone(), until) {",
            "        let _ = until;\n        match Ok::<_, Error>(damage.clone()) {",
        )],
    ),
    plant(
        "take-on-without-a-record",
        "quarantine: the same for who takes; else events are lost in silence",
        &[edit(
            "log/around.rs",
            "        let damage = self.quarantine.lock().add_or_remember(&*self.dirs.vfs, damage, until)?;",
            "        let _ = until;",
        )],
    ),
    plant(
        "list-the-quarantine-without-a-sync",
        "quarantine, N1: its directory is synced before an open builds on a record; else the record may vanish",
        &[edit(
            "log/dirs.rs",
            "    match vfs.list(&dir).and_then(|_| vfs.sync_dir(&dir)) {",
            "    match vfs.list(&dir) {",
        )],
    ),
    plant(
        "go-on-without-a-copy",
        "quarantine: the damaged bytes are copied aside, durably; else they go with their segment",
        &[edit("log/quarantine.rs", "    target.sync()?;\n", "")],
    ),
    plant(
        "record-before-the-copy",
        "quarantine: first the copy, then the record; else a crash between leaves a damage that is known and not copied",
        &[edit(
            "log/quarantine.rs",
            "        copy_aside(vfs, &damage.file, damage.at.offset, until, &copy)\n            \
             .map_err(|error| Error::io(\"cannot copy damaged bytes aside\", &copy, error))\n            \
             .and_then(|bytes| {",
            "        vfs.replace(&record, damage.to_text().as_bytes())\n            \
             .map_err(|error| Error::io(\"cannot write the record of a damage\", &record, error))\n            \
             .and_then(|()| {\n                \
             copy_aside(vfs, &damage.file, damage.at.offset, until, &copy)\n                    \
             .map_err(|error| Error::io(\"cannot copy damaged bytes aside\", &copy, error))\n            })\n            \
             .and_then(|bytes| {",
        )],
    ),
    plant(
        "give-up-without-a-gap-frame",
        "quarantine: lost events are owed no more; else the room that they take is never given back",
        &[edit(
            "channel/mod.rs",
            "        if lost.is_empty() {\n            return Ok(());",
            "        if lost.len() < 1_000 {\n            return Ok(());",
        )],
    ),
    plant(
        "give-up-in-memory",
        "quarantine: a gap frame is durable before events are given up; else they are owed again after a restart",
        &[
            edit(
                "channel/mod.rs",
                "        let slot = self.log.submit(Request::new(Kind::GAP, 0, buffer));\n        \
                 self.log.wait(&slot).map(drop).map_err(|error| {\n            \
                 self.unsaid.lock().append(&mut lost);\n            error.error().clone()\n        })",
                "        let body = bytes::Bytes::from(buffer.split_off(Request::HEADER_ROOM));\n        \
                 self.owner.queue.give_up_now(body).map(|count| self.owner.capacity.give_back(count))",
            ),
            edit(
                "queue/leases.rs",
                "    /// The state as bytes.\n",
                "    pub(crate) fn give_up_now(&self, body: Bytes) -> Result<u64> {\n        \
                 self.state.lock().give_up_now(&body)\n    }\n\n    /// The state as bytes.\n",
            ),
            edit(
                "queue/state.rs",
                "    fn take_what_is_owed(&mut self, ranges",
                "    pub(crate) fn give_up_now(&mut self, body: &Bytes) -> Result<u64> {\n        \
                 match self.take_what_is_owed(&take_ranges(body)?)? {\n            \
                 Change::Took(count) => Ok(count),\n            _ => Ok(0),\n        }\n    }\n\n    \
                 fn take_what_is_owed(&mut self, ranges",
            ),
        ],
    ),
    plant(
        "known-damage-is-news",
        "quarantine: a damage that is set aside is known at the next open, and not set aside again",
        &[edit(
            "log/quarantine.rs",
            "filter(move |record| record.at == at)",
            "filter(move |record| record.at == at && record.id == 0)",
        )],
    ),
    plant(
        "a-number-twice",
        "quarantine: each damage has a number of its own; else the record of another one is written over",
        &[edit(
            "log/quarantine.rs",
            "            quarantine.highest = quarantine.highest.max(id);",
            "            quarantine.highest = quarantine.highest.max(id & 0);",
        )],
    ),
    plant(
        "nothing-comes-behind-damage",
        "quarantine: the log goes on at the next sound frame; else one bad sector costs all behind it",
        &[edit(
            "log/scan.rs",
            "        let until = found.map_or(vouched_end, |(lsn, _)| lsn.min(vouched_end).max(missing));",
            "        let next = next.filter(|_| false);\n        \
             let until = found.map_or(vouched_end, |(lsn, _)| lsn.min(vouched_end).max(missing));",
        )],
    ),
    // And what a tired engineer could do.
    plant(
        "tired-one-checkpoint",
        "two checkpoints are kept: off by one",
        &[edit(
            "queue/checkpoint.rs",
            "self.kept.drain(self.kept.len().min(2)..)",
            "self.kept.drain(self.kept.len().min(1)..)",
        )],
    ),
    plant(
        "tired-answer-before-apply",
        "a commit is visible when it is acknowledged",
        &[
            edit(
                "log/writer.rs",
                "        log.apply.apply(&frame)?;\n        let events",
                "        let events",
            ),
            edit(
                "log/writer.rs",
                "            events,\n            durable,\n        });\n        Ok(())",
                "            events,\n            durable,\n        });\n        log.apply.apply(&frame)",
            ),
        ],
    ),
    plant(
        "tired-leases-in-reverse",
        "what is rolled back comes again in order",
        &[edit("queue/leases.rs", "self.released.pop_first()", "self.released.pop_last()")],
    ),
    plant(
        "tired-mark-of-an-aborted-put",
        "nothing of a put is there that was not committed, marks included",
        &[
            edit(
                "channel/transactions.rs",
                "        self.marks_growth(0).map(drop).inspect_err(|_| drop(self.marks.pop()))\n",
                "        self.marks_growth(0).map(drop).inspect_err(|_| drop(self.marks.pop()))?;\n        \
                 self.shared.owner.queue.mark_early(key, value);\n        Ok(())\n",
            ),
            edit(
                "queue/leases.rs",
                "    /// The state as bytes.\n",
                "    pub(crate) fn mark_early(&self, key: &[u8], value: &[u8]) {\n        \
                 self.state.lock().mark_early(key, value);\n    }\n\n    /// The state as bytes.\n",
            ),
            edit(
                "queue/state.rs",
                "    /// The oldest event owed, or `next_seq`.\n",
                "    pub(crate) fn mark_early(&mut self, key: &[u8], value: &[u8]) {\n        \
                 self.marks.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));\n    }\n\n    \
                 /// The oldest event owed, or `next_seq`.\n",
            ),
        ],
    ),
    plant(
        "tired-credits-leak",
        "room that is not used is given back",
        &[edit(
            "channel/transactions.rs",
            "        if self.events > 0 {\n            self.shared.owner.capacity.give_back(self.events);",
            "        if self.events > u64::MAX - 1 {\n            self.shared.owner.capacity.give_back(self.events);",
        )],
    ),
    plant(
        "tired-void-frames-are-read",
        "@D: void frames are no frames, for who takes as for who recovers",
        &[edit(
            "log/reader.rs",
            "                if void_above.is_none_or(|cut| frame.header.lsn <= cut)\n                    && cursor",
            "                if void_above.is_none_or(|_| true)\n                    && cursor",
        )],
    ),
    plant(
        "tired-check-without-the-unvouched",
        "S4: a take that nobody vouches for may have freed a segment too",
        &[edit(
            "queue/leases.rs",
            "        for frame in held_back {",
            "        for frame in held_back.iter().take(0) {",
        )],
    ),
];
