internal import Backup
internal import DRPKit
internal import Foundation

/// Captures the frozen source once more, which stores only what is new, and brings the target to that state.
package struct CatchUpStep: Step {
    package static let kind = "catch-up"
    package static let schema: [SettingSpec] = []
    package static let rule = StepRule(deadline: .seconds(2 * 3600), retries: 1)
    package static let changesProduction = true

    let world: StepWorld

    package func plan(_ context: StepContext) async throws -> StepPlan {
        StepPlan(
            name: context.step, kind: Self.kind,
            lines: ["a backup of the frozen source, then its state in the target's databases"])
    }

    package func observe(_ context: StepContext) async throws -> Observation {
        guard try world.isSourceAlive(context) else { return .done(StepWorld.sourceLost) }
        guard let trace = RestoreTrace.read(of: try world.deployment(context), .catchUp), trace.run == context.run
        else {
            return .notDone
        }
        return .done(trace.outcome)
    }

    package func apply(_ context: StepContext) async throws -> StepOutcome {
        let client = try world.client(context)
        let deployment = try world.deployment(context)
        guard context.outcomes["freeze"]?.text("frozen") != nil else {
            throw StepError(context, .order, "it needs the outcome of a step 'freeze' before it")
        }
        let began = world.clock.now
        let number = try await captured(context, client)
        let backup = try await world.backup(context, client, at: "\(number)")
        let restore = ClientRestore(
            client: client.id, manifest: backup.manifest, source: try await world.reader(context, backup),
            target: try await world.databases(deployment), clock: world.clock)
        try await bring(restore, deployment, context, client)
        Failpoint.hit("catch-up.restored")
        var trace = RestoreTrace(context, backup, seconds: world.clock.now.timeIntervalSince(began))
        try await trace.finish(deployment, .catchUp, restore.target)
        return trace.outcome
    }

    /// Only what has changed since the restore of this run, if nobody has written to the target in between; else everything anew.
    private func bring(
        _ restore: ClientRestore, _ deployment: Deployment, _ context: StepContext, _ client: Client
    ) async throws {
        if context.notes["bringing"] == nil, let trace = RestoreTrace.read(of: deployment, .restore),
            trace.run == context.run, let writes = trace.writes
        {
            let (mongo, redis) = try await writes.counted(restore.target)
            let old = try await world.backup(context, client, at: "\(trace.backup)")
            if mongo == 0, old.manifest.epoch == restore.manifest.epoch {
                // An attempt that was broken off leaves neither the one nor the other state.
                try await context.note("bringing", true)
                let (kept, all) = try await restore.update(
                    from: old.manifest, redis: redis == 0, progress: world.progress)
                context.progress("\(kept) of \(all) collections are as they were restored")
                return
            }
        }
        try await restore.run(existing: .replace, progress: world.progress)
    }

    /// What was restored goes with its deployment.
    package func undo(_ context: StepContext) async throws {}

    /// The source is frozen: a backup that an earlier attempt took still is all that there is.
    private func captured(_ context: StepContext, _ client: Client) async throws -> Int {
        if let number = context.notes["backup"]?.integer { return Int(number) }
        context.progress("capturing what came since")
        guard let lease = context.clientLease else { preconditionFailure("a step is carried out under a lease") }
        let results = try await world.capture(client, lease)
        guard let manifest = results.lazy.compactMap({ try? $0.outcome.get() }).first else {
            throw StepError(context, .refused, "no store took the backup")
        }
        try await context.note("backup", .integer(Int64(manifest.number)))
        Failpoint.hit("catch-up.captured")
        let new = ByteCount(manifest.counters.new)
        context.progress("backup \(manifest.number): \(new) new of \(ByteCount(manifest.counters.source))")
        return manifest.number
    }
}
