extension Optional where Wrapped: Sendable {
    /// `map` with a body that waits.
    package func asyncMap<Result>(_ transform: (Wrapped) async throws -> Result) async throws -> Result? {
        guard let self else { return nil }
        return try await transform(self)
    }
}
