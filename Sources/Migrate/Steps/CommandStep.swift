internal import DRPKit
internal import Foundation

/// Runs a program of the operator's own, never through a shell. It gets `DRP_RUN`, `DRP_CLIENT`, `DRP_STEP` and the inputs of
/// the run as `DRP_INPUT_NAME` in its environment.
package struct CommandStep: Step {
    package static let kind = "command"
    package static let schema = [
        SettingSpec("run", .list, .required, about: "The program (absolute, or a bare name) and its arguments."),
        SettingSpec(
            "check", .list,
            about:
                "A program that ends with 0 if the work is done already; without it `run` is begun again after a crash."
        ),
        SettingSpec("undo", .list, about: "A program that takes it back; it must bear being run twice."),
    ]
    package static let rule = StepRule(deadline: .seconds(600), retries: 0)
    /// Of what the program wrote, kept with the run.
    private static let tail = 4000

    let world: StepWorld

    package func plan(_ context: StepContext) async throws -> StepPlan {
        let words = context.settings.list("run") ?? []
        return StepPlan(name: context.step, kind: Self.kind, lines: ["runs \(words.joined(separator: " "))"])
    }

    package func observe(_ context: StepContext) async throws -> Observation {
        guard let check = context.settings.list("check") else { return seen(context) }
        let result = try await run(check, context)
        return result.status == .exited(0) ? .done(context.applied ?? [:]) : .notDone
    }

    package func apply(_ context: StepContext) async throws -> StepOutcome {
        let result = try await run(context.settings.list("run") ?? [], context)
        let output = String(result.outputText.suffix(Self.tail))
        for line in output.split(separator: "\n").suffix(20) { context.progress(String(line)) }
        try require(result, context)
        return ["output": .text(output)]
    }

    package func undo(_ context: StepContext) async throws {
        guard let words = context.settings.list("undo") else { return }
        try require(try await run(words, context), context)
    }

    private func run(_ words: [String], _ context: StepContext) async throws -> CommandResult {
        var additions = [
            "DRP_RUN": context.run.text, "DRP_CLIENT": context.client.text, "DRP_STEP": context.step,
            "DRP_MODE": context.mode.rawValue,
        ]
        for (name, value) in context.inputs { additions["DRP_INPUT_\(name.uppercased())"] = value }
        let left = Duration.seconds(max(1, context.deadline.timeIntervalSince(world.clock.now)))
        return try await world.runner.run(words, additions: additions, deadline: left)
    }

    private func require(_ result: CommandResult, _ context: StepContext) throws {
        guard result.status == .exited(0) else {
            let words = String(result.errorText.suffix(500)).trimmingCharacters(in: .whitespacesAndNewlines)
            throw StepError(context, .refused, "its program ended with \(result.status): \(words)")
        }
    }
}
