internal import GRDB

/// The tables of the journal, as numbered steps; a step is never edited once released.
///
/// SQLite's `user_version` holds the number of the newest step taken. All missing steps are taken in one transaction,
/// so that two processes that open an old file at once do it once.
enum Schema {
    static var newest: Int { steps.count }

    /// "drpj": tells our file from other SQLite files (sqlite.org/fileformat2.html, offset 68).
    private static let applicationID = 0x6472_706a

    static func migrate(_ db: Database, path: String) throws {
        let version = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
        let application = try Int.fetchOne(db, sql: "PRAGMA application_id") ?? 0
        guard version <= newest else { throw JournalError(.newer(version: version), path) }
        let isOurs = application == applicationID
        let isEmpty = try Int.fetchOne(db, sql: "SELECT COUNT(*) FROM sqlite_schema") == 0
        guard isOurs || (version == 0 && isEmpty) else {
            throw JournalError(.damaged, path, cause: "it holds the tables of another program")
        }
        guard version < newest else { return }
        for step in steps[version...] { try db.execute(sql: step) }
        try db.execute(sql: "PRAGMA application_id = \(applicationID)")
        try db.execute(sql: "PRAGMA user_version = \(newest)")
    }

    private static let steps = [v1, v2, v3, v4]

    private static let v1 = """
        CREATE TABLE backups (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            client TEXT NOT NULL, store TEXT NOT NULL, number INTEGER,
            started TEXT NOT NULL, finished TEXT, instant TEXT,
            source_bytes INTEGER NOT NULL DEFAULT 0, new_bytes INTEGER NOT NULL DEFAULT 0,
            stored_bytes INTEGER NOT NULL DEFAULT 0,
            outcome TEXT CHECK (outcome IN ('ok', 'failed')), error_code TEXT, error TEXT
        ) STRICT;
        CREATE INDEX backups_client ON backups (client, started);

        CREATE TABLE jobs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            client TEXT NOT NULL, kind TEXT NOT NULL, due TEXT NOT NULL,
            started TEXT NOT NULL, finished TEXT,
            outcome TEXT CHECK (outcome IN ('ok', 'failed')), error_code TEXT, error TEXT
        ) STRICT;
        CREATE INDEX jobs_client ON jobs (client, kind, due);

        CREATE TABLE runs (
            id TEXT PRIMARY KEY,
            kind TEXT NOT NULL, client TEXT NOT NULL, runbook TEXT NOT NULL, runbook_hash TEXT NOT NULL,
            mode TEXT NOT NULL CHECK (mode IN ('drill', 'real')), inputs TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('running', 'paused', 'done', 'cancelled')),
            declared TEXT NOT NULL, started TEXT NOT NULL, finished TEXT, pid INTEGER NOT NULL,
            error_code TEXT, error TEXT
        ) STRICT;
        CREATE INDEX runs_client ON runs (client, declared);

        CREATE TABLE steps (
            run TEXT NOT NULL REFERENCES runs (id), ordinal INTEGER NOT NULL,
            kind TEXT NOT NULL, name TEXT NOT NULL, settings TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('pending', 'active', 'failed', 'done')),
            started TEXT, finished TEXT, notes TEXT NOT NULL DEFAULT '{}', applied TEXT, outcome TEXT,
            PRIMARY KEY (run, ordinal), UNIQUE (run, name)
        ) STRICT;

        CREATE TABLE attempts (
            run TEXT NOT NULL, step INTEGER NOT NULL, number INTEGER NOT NULL,
            phase TEXT NOT NULL
                CHECK (phase IN ('intent', 'observing', 'applying', 'observing-after', 'outcome')),
            started TEXT NOT NULL, finished TEXT, error_code TEXT, error TEXT,
            PRIMARY KEY (run, step, number), FOREIGN KEY (run, step) REFERENCES steps (run, ordinal)
        ) STRICT;

        CREATE TABLE events (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at TEXT NOT NULL, kind TEXT NOT NULL, client TEXT, run TEXT, step TEXT,
            payload TEXT NOT NULL, hash BLOB NOT NULL CHECK (length(hash) = 32)
        ) STRICT;
        CREATE INDEX events_run ON events (run);
        CREATE TRIGGER events_keep_update BEFORE UPDATE ON events
            BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
        CREATE TRIGGER events_keep_delete BEFORE DELETE ON events
            BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
        CREATE TRIGGER events_keep_replace BEFORE INSERT ON events
            WHEN EXISTS (SELECT 1 FROM events WHERE id = NEW.id)
            BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

        CREATE TABLE leases (
            name TEXT PRIMARY KEY,
            instance TEXT NOT NULL, fence INTEGER NOT NULL, pid INTEGER NOT NULL, pid_started TEXT NOT NULL,
            machine TEXT NOT NULL, since TEXT NOT NULL, beat TEXT NOT NULL, held INTEGER NOT NULL
        ) STRICT;

        CREATE TABLE placements (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            client TEXT NOT NULL, site TEXT NOT NULL, epoch INTEGER NOT NULL, services TEXT NOT NULL,
            run TEXT, at TEXT NOT NULL,
            UNIQUE (client, epoch)
        ) STRICT;
        """

    /// A number alone tells no backup: a repository that was made anew counts from 1 again.
    private static let v2 = """
        ALTER TABLE backups ADD COLUMN missing TEXT;
        CREATE UNIQUE INDEX backups_once ON backups (client, store, number, instant) WHERE outcome = 'ok';

        ALTER TABLE leases ADD COLUMN lasts INTEGER;

        CREATE TABLE verify_rounds (
            client TEXT NOT NULL, store TEXT NOT NULL, round INTEGER NOT NULL, position INTEGER NOT NULL,
            at TEXT NOT NULL,
            PRIMARY KEY (client, store)
        ) STRICT;
        """

    /// One chain of numbers over all stores of a client: what the journal knows of its end counts too, and a repository that
    /// was made anew has another uuid. `lacking`: names of stores, a JSON list. `alarms`: '' for no client or store,
    /// so that they are unique.
    private static let v3 = """
        ALTER TABLE backups ADD COLUMN repository TEXT;
        ALTER TABLE backups ADD COLUMN hash BLOB CHECK (length(hash) = 32);

        CREATE TABLE partial_backups (
            client TEXT NOT NULL, repository TEXT NOT NULL, number INTEGER NOT NULL, lacking TEXT NOT NULL,
            since TEXT NOT NULL,
            PRIMARY KEY (client, repository, number)
        ) STRICT;

        CREATE TABLE alarms (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL, client TEXT NOT NULL, store TEXT NOT NULL, since TEXT NOT NULL, text TEXT NOT NULL,
            UNIQUE (kind, client, store)
        ) STRICT;
        """

    /// The ways back of runs. A run that is `done` in direction `back` was rolled back; a step that is `done` with the mark
    /// `skipped` was left out, one that is `pending` with the mark `undone` was taken back.
    private static let v4 = """
        ALTER TABLE runs ADD COLUMN direction TEXT NOT NULL DEFAULT 'forward'
            CHECK (direction IN ('forward', 'back'));
        ALTER TABLE steps ADD COLUMN mark TEXT CHECK (mark IN ('skipped', 'undone'));
        ALTER TABLE attempts ADD COLUMN direction TEXT NOT NULL DEFAULT 'forward'
            CHECK (direction IN ('forward', 'back'));

        CREATE TABLE run_output (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run TEXT NOT NULL REFERENCES runs (id), step TEXT NOT NULL, at TEXT NOT NULL, text TEXT NOT NULL
        ) STRICT;
        CREATE INDEX run_output_run ON run_output (run, id);

        CREATE TABLE declarations (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            site TEXT NOT NULL, at TEXT NOT NULL, person TEXT NOT NULL, reason TEXT, ended TEXT
        ) STRICT;
        CREATE UNIQUE INDEX declarations_open ON declarations (site) WHERE ended IS NULL;
        """
}
