internal import Backup
internal import DRPKit
internal import Synchronization

/// The stores of this process, each made once: connections and what was learned of a store serve all clients.
final class OpenStores: Sendable {
    /// Made with the first bucket: it takes a thread and file handles.
    private static let http = CurlClient()

    private let clock: any WallClock
    private let resolver: SecretResolver
    private let known = Mutex<[StoreSettings: any ObjectStore]>([:])

    init(clock: any WallClock, resolver: SecretResolver) {
        self.clock = clock
        self.resolver = resolver
    }

    func open(_ settings: StoreSettings) -> any ObjectStore {
        if let store = known.withLock({ $0[settings] }) { return store }
        let store = make(settings)
        known.withLock { $0[settings] = store }
        return store
    }

    private func make(_ settings: StoreSettings) -> any ObjectStore {
        switch settings.kind {
        case .folder(let path): return FolderStore(root: path)
        case .s3(let s3):
            return S3Store(
                s3, http: Self.http, clock: clock,
                credentials: { [resolver] in
                    try await resolver.aws(access: s3.access, secret: s3.secret, token: s3.token)
                })
        case .azure(let azure):
            return AzureStore(
                azure, http: Self.http, clock: clock,
                credentials: { [resolver] in
                    switch azure.access {
                    case .key(let source): .key(try await resolver.resolve(source))
                    case .sas(let source): .sas(try await resolver.resolve(source))
                    }
                })
        }
    }
}

extension SecretResolver {
    /// The parts of what proves who asks AWS, or one who speaks like it.
    func aws(access: SecretSource, secret: SecretSource, token: SecretSource?) async throws -> AWSCredentials {
        let key = try await resolve(access)
        var given: Secret?
        if let token { given = try await resolve(token) }
        return AWSCredentials(access: key.withText { $0 }, secret: try await resolve(secret), token: given)
    }
}
