package tasks

import (
	"leasehold/api/compute/v1"
	"leasehold/vm"
)

// ImageParams are the durable parameters of a verb that makes a disk of an image.
type ImageParams struct {
	Image vm.ImageID `json:"image"`
}

func rescue() Kind {
	return power{
		verb: vm.Rescue, via: vm.Rescuing,
		do: func(w *Work, r *computev1.RunRequest) error {
			r.Action = &computev1.RunRequest_Rescue{Rescue: &computev1.RescueMachine{Image: imageSource(w.Image)}}
			return needsImage(w)
		},
		is: func(w *Work, seen *computev1.Observation) bool {
			var p ImageParams
			return params(w.Task, &p) == nil && seen.GetRescue() == string(p.Image) && vm.PowerState(seen.GetPowerState()) == vm.PowerRunning
		},
		done: func(w *Work) { w.keepRescue(w.Image.ID) },
	}.kind()
}

func unrescue() Kind {
	return power{
		verb: vm.Unrescue, via: vm.Unrescuing,
		do: func(_ *Work, r *computev1.RunRequest) error {
			r.Action = &computev1.RunRequest_Unrescue{Unrescue: &computev1.UnrescueMachine{}}
			return nil
		},
		is: func(_ *Work, seen *computev1.Observation) bool {
			return seen.GetRescue() == "" && vm.PowerState(seen.GetPowerState()) == vm.PowerRunning
		},
		done: func(w *Work) { w.keepRescue("") },
	}.kind()
}

// needsImage refuses to make a disk of an image whose record is gone.
func needsImage(w *Work) error {
	if w.Image != nil {
		return nil
	}
	var p ImageParams
	if err := params(w.Task, &p); err != nil {
		return err
	}
	return vm.Refuse(vm.ReasonNotFound, "cannot %s instance %s: image %s was deleted meanwhile", w.Task.Kind, w.Instance.ID, p.Image)
}
