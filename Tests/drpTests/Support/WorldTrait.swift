import Testing

extension DemoWorld {
    /// The world of the suite that runs, made by `.world(…)`.
    @TaskLocal static var shared: DemoWorld?

    /// For tests of a suite with `.world(…)`.
    static var current: DemoWorld {
        get throws {
            guard let shared else { throw WorldError("this suite has no .world(…)") }
            return shared
        }
    }
}

/// Makes one world for all tests of a suite, which leave it as they found it, and ends it after the last.
struct WorldTrait: SuiteTrait, TestScoping {
    var options: DemoWorld.Options

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        guard DemoWorld.isPossible else { return try await function() }
        try await DemoWorld.run(options) { world in
            try await DemoWorld.$shared.withValue(world) { try await function() }
        }
    }
}

extension Trait where Self == WorldTrait {
    static func world(_ options: DemoWorld.Options = DemoWorld.Options()) -> Self { WorldTrait(options: options) }
}

extension Trait where Self == ConditionTrait {
    /// Skips the suite where its world cannot be made; with REQUIRE_SERVICES=1 it runs, and fails.
    static var needsServices: Self { .enabled(if: DemoWorld.isPossible || DemoWorld.isRequired, DemoWorld.missing) }
}
