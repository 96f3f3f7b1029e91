// Cert-manager's definitions, for the overlay that has it keep the webhook's certificate: they are read where this module is unpacked, and
// nothing of it is built. (`go mod tidy` would leave nothing of this file.)
module managedhsm.dev/tools/cert-manager

go 1.26.0

require github.com/cert-manager/cert-manager v1.21.2
