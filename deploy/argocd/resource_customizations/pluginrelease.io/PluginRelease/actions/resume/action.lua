-- Ends the action suspend.
obj.spec.suspend = false
return obj
