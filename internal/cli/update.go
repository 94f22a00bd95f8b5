package cli

import (
	"context"

	"github.com/spf13/cobra"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/client"
	"leasehold/internal/cli/output"
)

// edit is what may be changed of an instance without a task.
type edit struct {
	req                 conductorv1.UpdateInstanceRequest
	metadata, set       map[string]string // two names of one flag
	unset               []string
	protect, unprotect  bool
	deleteProtection    bool
	deleteProtectionSet func() bool
}

func (a *app) instanceUpdate() *cobra.Command {
	var e edit
	cmd := &cobra.Command{
		Use:   "update INSTANCE",
		Short: "Change the name, metadata, delete protection or on_host_boot of an instance",
		Long: `update changes what belongs to people, at once and without a task; also while a task runs. What is not named stays
as it is. With --if-revision it is refused when somebody else has changed the record meanwhile.`,
		Example: `  vmctl instance update web-1 --name web-2
  vmctl instance update web-1 --metadata tier=web --metadata owner=
  vmctl instance update web-1 --protect --on-host-boot stopped --if-revision 42`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(a.instanceNames),
		RunE: answer(a, func(ctx context.Context, c *client.Client, args []string) (*conductorv1.Instance, error) {
			if err := e.complete(args[0]); err != nil {
				return nil, err
			}
			return c.UpdateInstance(ctx, &e.req)
		}, output.Printer.Instance),
	}
	f := cmd.Flags()
	f.StringVar(&e.req.Name, "name", "", "the new name")
	f.StringToStringVar(&e.metadata, "metadata", nil, "key=value to set, key= to take away; may be repeated")
	f.StringToStringVar(&e.set, "set", nil, "the same as --metadata")
	f.StringSliceVar(&e.unset, "unset", nil, "keys of metadata to take away")
	f.BoolVar(&e.protect, "protect", false, "refuse deletes")
	f.BoolVar(&e.unprotect, "unprotect", false, "allow deletes again")
	f.BoolVar(&e.deleteProtection, "delete-protection", false, "the same as --protect; with =false as --unprotect")
	f.StringVar(&e.req.OnHostBoot, "on-host-boot", "", "restart or stopped: what becomes of it when its host was rebooted")
	f.Int64Var(&e.req.IfRevision, "if-revision", 0, "only when the record still has this revision")
	cmd.MarkFlagsMutuallyExclusive("protect", "unprotect", "delete-protection")
	a.completeFlag(cmd, "on-host-boot", fixed("restart", "stopped"))
	e.deleteProtectionSet = func() bool { return f.Changed("delete-protection") }
	return cmd
}

// complete makes the request out of the flags.
func (e *edit) complete(id string) error {
	e.req.Id = id
	e.req.Metadata = map[string]string{}
	gone := map[string]string{}
	for _, key := range e.unset {
		gone[key] = "" // takes the entry away
	}
	for _, entries := range []map[string]string{e.metadata, e.set, gone} {
		for key, value := range entries {
			if _, twice := e.req.GetMetadata()[key]; twice {
				return usagef("cannot set and unset %q at once, nor set it twice", key)
			}
			e.req.Metadata[key] = value
		}
	}
	switch {
	case e.deleteProtectionSet():
		e.req.DeleteProtection = &e.deleteProtection
	case e.protect || e.unprotect:
		e.req.DeleteProtection = &e.protect
	}
	r := &e.req
	if r.GetName() == "" && len(r.GetMetadata()) == 0 && r.DeleteProtection == nil && r.GetOnHostBoot() == "" {
		return usagef("cannot update %s: no change is given", id)
	}
	return nil
}
