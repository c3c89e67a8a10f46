internal import Backup
internal import DRPKit
internal import Foundation

/// Restores a backup into the deployed databases, then gives every restored database user a new password.
///
/// A restore that was interrupted begins again, and may replace only what this same run has put there.
package struct RestoreStep: Step {
    package static let kind = "restore"
    package static let schema = [
        SettingSpec("at", .text, .optional, about: "`latest` (the default) or a backup's number.")
    ]
    package static let rule = StepRule(deadline: .seconds(2 * 3600), retries: 1)

    let world: StepWorld

    package func plan(_ context: StepContext) async throws -> StepPlan {
        let client = try world.client(context)
        let backup = try await world.backup(context, client, at: at(context))
        let counters = backup.manifest.counters
        return StepPlan(
            name: context.step, kind: Self.kind,
            lines: [
                "backup \(backup.manifest.number) from store \(backup.store): \(ByteCount(counters.source)) into empty databases",
                "restored database users get new passwords",
            ])
    }

    package func observe(_ context: StepContext) async throws -> Observation {
        guard let trace = RestoreTrace.read(of: try world.deployment(context), .restore), trace.run == context.run
        else {
            return .notDone
        }
        return .done(trace.outcome)
    }

    package func apply(_ context: StepContext) async throws -> StepOutcome {
        let client = try world.client(context)
        let deployment = try world.deployment(context)
        let began = world.clock.now
        let wanted = context.notes["backup"]?.integer.map { "\($0)" } ?? at(context)
        let backup = try await world.backup(context, client, at: wanted)
        let isContinued = context.notes["backup"] != nil
        try await context.note("backup", .integer(Int64(backup.manifest.number)))
        Failpoint.hit("restore.noted")
        context.progress("backup \(backup.manifest.number) of \(JournalDate.text(backup.manifest.instant))")
        let databases = try await world.databases(deployment)
        let restore = ClientRestore(
            client: client.id, manifest: backup.manifest, source: try await world.reader(context, backup),
            target: databases, clock: world.clock)
        try await restore.run(existing: isContinued ? .replace : .refuse, progress: world.progress)
        Failpoint.hit("restore.restored")
        var trace = RestoreTrace(context, backup, seconds: world.clock.now.timeIntervalSince(began))
        try await trace.finish(deployment, .restore, databases)
        return trace.outcome
    }

    /// What was restored goes with its deployment.
    package func undo(_ context: StepContext) async throws {}

    private func at(_ context: StepContext) -> String {
        let text = context.settings.text("at") ?? "latest"
        return text.contains("$") ? context.inputs["at"] ?? "latest" : text
    }
}
