internal import Backup
internal import DRPKit
internal import Foundation

/// Reads the target back and compares it with the backup, line by line. A difference stops the run before any traffic moves.
package struct VerifyStep: Step {
    package static let kind = "verify"
    package static let schema = [
        SettingSpec("content", .choice(["exact"]), .optional, about: "Every document and key is compared by digest."),
        SettingSpec(
            "against", .choice(["backup", "source"]),
            about: "`source`: the frozen source is read again, too, and must hold the same; `backup` without this."),
        SettingSpec(
            "checks", .choices(TargetChecks.Kind.allCases.map(\.rawValue)),
            about: "What else the target must show; what the site does not have is left out."),
    ]
    package static let rule = StepRule(deadline: .seconds(3600), retries: 1)

    let world: StepWorld

    package func plan(_ context: StepContext) async throws -> StepPlan {
        StepPlan(
            name: context.step, kind: Self.kind,
            lines: [
                "count, digest, options and indexes of every collection and database, read back from the target"
            ] + (context.settings.list("checks").map { ["the target itself: \($0.joined(separator: ", "))"] } ?? []))
    }

    package func observe(_ context: StepContext) async throws -> Observation { seen(context) }

    package func apply(_ context: StepContext) async throws -> StepOutcome {
        let client = try world.client(context)
        let (backup, reader) = try await world.restored(context, client)
        let target = try await world.databases(try world.deployment(context))
        let source = try await frozenSource(context)
        @Sendable func compare(_ databases: ClientDatabases) async throws -> ContentComparison {
            let restore = ClientRestore(
                client: client.id, manifest: backup.manifest, source: reader, target: databases, clock: world.clock)
            let comparison = try await restore.compare(progress: world.progress)
            guard comparison.isEqual else { throw TargetError(client: client.id, differs: comparison) }
            return comparison
        }
        // At once: clients wait for the end of it.
        async let other = source.asyncMap(compare)
        async let shown = checks(context, client)
        let comparison = try await compare(target)
        context.progress(comparison.summary)
        // Both are equal to one backup, each read by itself: so they are equal.
        let found = try await shown
        for sentence in found { context.progress(sentence) }
        let isSourceEqual = try await other != nil
        if isSourceEqual { context.progress("the source, read again, holds the same") }
        return [
            "source": isSourceEqual ? "equal" : .null, "checks": .list(found.map { .text($0) }),
            "summary": .text(comparison.summary), "compared": .integer(Int64(comparison.lines.count)),
            "collections": .integer(Int64(comparison.collections)), "documents": .integer(comparison.documents),
            "keys": .integer(comparison.keys), "expiringKeys": .integer(comparison.expiringKeys),
        ]
    }

    private func checks(_ context: StepContext, _ client: Client) async throws -> [String] {
        let kinds = (context.settings.list("checks") ?? []).compactMap(TargetChecks.Kind.init)
        return try await TargetChecks(
            world: world, client: client, site: try world.targetSite(context),
            deployment: try world.deployment(context),
            isDrill: context.mode == .drill
        ).run(kinds)
    }

    /// - Returns: nil if the source is not to be compared, or is lost.
    private func frozenSource(_ context: StepContext) async throws -> ClientDatabases? {
        guard context.settings.text("against") == "source", try world.isSourceAlive(context) else { return nil }
        guard context.outcomes["freeze"]?.text("frozen") != nil else {
            throw StepError(context, .order, "a source is compared after a step 'freeze' alone")
        }
        return try await world.sourceDatabases(context)
    }

    package func undo(_ context: StepContext) async throws {}
}
