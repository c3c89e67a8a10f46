internal import Backup
internal import DRPKit
internal import Foundation

/// Backs the client up where it lives now: from its first minute at a new side it can be lost again.
package struct ProtectStep: Step {
    package static let kind = "protect"
    package static let schema = [
        SettingSpec(
            "if-fails", .choice(["record", "fail"]), .optional,
            about:
                "What a backup that fails means: `record` (the run goes on, an event says so) or `fail`, the default.")
    ]
    package static let rule = StepRule(deadline: .seconds(2 * 3600), retries: 2)
    package static let changesProduction = true

    let world: StepWorld

    package func plan(_ context: StepContext) async throws -> StepPlan {
        StepPlan(name: context.step, kind: Self.kind, lines: ["a backup of the client at its new place"])
    }

    package func observe(_ context: StepContext) async throws -> Observation { seen(context) }

    package func apply(_ context: StepContext) async throws -> StepOutcome {
        let client = try world.client(context)
        guard let lease = context.clientLease else { preconditionFailure("a step is carried out under a lease") }
        do {
            let results = try await world.capture(client, lease)
            guard let manifest = results.lazy.compactMap({ try? $0.outcome.get() }).first else {
                throw StepError(context, .refused, "no store took the backup")
            }
            context.progress("backup \(manifest.number) of the new side")
            return ["backup": .integer(Int64(manifest.number))]
        } catch let error where !(error is CancellationError) && context.settings.text("if-fails") == "record" {
            let why = Fault(error).text
            context.progress("NOT protected yet: \(why)")
            try await world.journal.append(
                event: "protect.failed", client: context.client, run: context.run, step: context.step,
                payload: ["because": .text(why)])
            return ["failed": .text(why)]
        }
    }

    package func undo(_ context: StepContext) async throws {}
}
