internal import DRPKit

/// Waits for a person to agree, on record.
package struct ApproveStep: Step {
    package static let kind = "approve"
    package static let schema = [
        SettingSpec("ask", .text, .required, about: "What a person agrees to, as `drp runs show` will say it.")
    ]
    package static let rule = StepRule(deadline: .seconds(60), retries: 0)

    let world: StepWorld

    package func plan(_ context: StepContext) async throws -> StepPlan {
        StepPlan(name: context.step, kind: Self.kind, lines: ["waits for `drp runs approve`: \(ask(context))"])
    }

    package func observe(_ context: StepContext) async throws -> Observation {
        guard let approval = try await world.journal.approval(of: context.step, in: context.run) else {
            return .notDone
        }
        return .done(["by": .text(approval.by), "reason": approval.reason.map { .text($0) } ?? .null])
    }

    package func apply(_ context: StepContext) async throws -> StepOutcome {
        throw StepError(context, .approval, ask(context))
    }

    package func undo(_ context: StepContext) async throws {}

    private func ask(_ context: StepContext) -> String { context.settings.text("ask") ?? "?" }
}
