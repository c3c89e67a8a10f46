internal import Backup
internal import DRPKit
internal import Foundation

/// What a file beside a deployment says was restored, written last: the trace by which a resumed run sees that it is done.
struct RestoreTrace: Codable, Sendable {
    enum Kind: String { case restore = "restored.json", catchUp = "caught-up.json" }

    var run: RunID
    var backup: Int
    var store: StoreName
    var instant: String
    var seconds: Double
    /// From this moment on, what is written there is somebody else's; nil in traces of older versions.
    var writes: WriteCount?

    init(_ context: StepContext, _ found: FoundBackup, seconds: Double) {
        run = context.run
        backup = found.manifest.number
        store = found.store
        instant = JournalDate.text(found.manifest.instant)
        self.seconds = seconds
    }

    /// - Returns: nil without one, or for one in another form.
    static func read(of deployment: Deployment, _ kind: Kind) -> RestoreTrace? {
        guard let data = FileManager.default.contents(atPath: path(deployment, kind)) else { return nil }
        return try? JSONDecoder().decode(RestoreTrace.self, from: data)  // another form is no trace of ours
    }

    /// Gives restored users of the database new passwords, then writes the trace.
    mutating func finish(_ deployment: Deployment, _ kind: Kind, _ databases: ClientDatabases) async throws {
        if let settings = databases.mongo {
            try await AccountRotation(settings: settings, folder: "\(deployment.folder)/secrets").run()
        }
        Failpoint.hit("restore.rotated")
        writes = try await WriteCount.begin(databases)
        try AtomicFile.write(
            Self.path(deployment, kind), Array(try JSONEncoder().encode(self)), mode: 0o600, .replace)
    }

    var outcome: StepOutcome {
        [
            "backup": .integer(Int64(backup)), "store": .text(store.text), "instant": .text(instant),
            "seconds": .number(seconds),
        ]
    }

    private static func path(_ deployment: Deployment, _ kind: Kind) -> String {
        "\(deployment.folder)/\(kind.rawValue)"
    }
}
